"""Checks what a key of a configuration may name, before anything is called."""

import collections.abc
import dataclasses
import inspect
import os
import sys
import sysconfig
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

Hint: TypeAlias = Any
"""An annotation: a class, or a form of `typing`."""

_FIELD = ("ritz", "netket", "flax", "optax", "jax")

_MAKERS = (
    "optax",
    "jax.nn",
    "jax._src.nn",
    "flax.linen",
    "flax.nnx",
    "netket.graph",
    "netket.hilbert",
    "netket.models",
    "netket.nn",
    "netket.operator",
    "netket.optimizer",
    "netket.sampler",
)
"""Packages whose classes and functions only make objects."""

_UNIONS = (typing.Union, types.UnionType)
_BARE = (Any, object, inspect.Parameter.empty)
_CONTAINERS = (
    list,
    tuple,
    dict,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Mapping,
)


class ContractError(ValueError):
    """A class path names something that its key does not allow; nothing was called."""


@dataclasses.dataclass(frozen=True)
class Contract:
    """The kinds of objects that a key allows.

    A class fits if it is a subclass of one of `kinds` or of a class in `packages`; a function, if
    it says so in its return annotation, or is defined in `packages`.

    Args:
        text: Name of what is needed, for messages, such as "a callback".
        kinds: Base classes.
        packages: Where classes and functions are that fit, such as "optax".
        example: Return annotation for a function of one's own.
        advice: What to give instead, for messages.
        modules: Where names without a module are looked for.
        plugins: The kind of `ritz.plugins` among which they are looked for after that.
        elsewhere: Names that other programs have, in lower case, each with what to give instead.
    """

    text: str
    kinds: tuple[type, ...] = ()
    packages: tuple[str, ...] = ()
    example: str = ""
    advice: str = ""
    modules: tuple[str, ...] = ()
    plugins: str = ""
    elsewhere: tuple[tuple[str, str], ...] = ()

    def check(self, key: str, path: str, target: Callable[..., object]) -> None:
        """Refuse a class or function that does not fit; it is not called.

        Raises:
            ContractError: One line that names the key, what was given, and what is needed.
        """
        check_harmless(key, path, target)
        if inspect.isclass(target):
            if self._takes(target):
                return
            raise ContractError(
                f"{key}: {self.text} is needed, but {path} is another class{self.hint}."
            )
        if within(module_of(target), self.packages):
            return
        returned = return_kinds(target)
        if returned is None:
            label = getattr(target, "__name__", "it")
            example = self.example or " | ".join(kind.__name__ for kind in self.kinds)
            hint = f"; if it does, write `def {label}(...) -> {example}:`" * bool(example)
            raise ContractError(f"{key}: {path} does not say that it returns {self.text}{hint}.")
        if not returned or not all(self._takes(kind) for kind in returned):
            said = " or ".join(kind.__name__ for kind in returned) or "None"
            raise ContractError(
                f"{key}: {path} returns {said}, but {self.text} is needed{self.hint}."
            )

    def allows(self, target: Callable[..., object]) -> bool:
        """Whether `check` takes a class or function."""
        try:
            self.check("", "", target)
        except ContractError:
            return False
        return True

    @property
    def hint(self) -> str:
        """The advice as the end of a message."""
        return f"; {self.advice}" if self.advice else ""

    def check_made(self, key: str, path: str, made: object) -> None:
        """Refuse an object that is not of the required kind.

        Raises:
            ContractError: As above.
        """
        if not self._takes(type(made)):
            raise ContractError(
                f"{key}: {path} returned {type(made).__name__}, but {self.text} is needed."
            )

    def _takes(self, kind: type) -> bool:
        return issubclass(kind, self.kinds) or any(
            within(base.__module__, self.packages) for base in kind.__mro__
        )


def check_harmless(key: str, path: str, target: Callable[..., object]) -> None:
    """Refuse anything but classes and functions, and all of the standard library and NumPy.

    Raises:
        ContractError: One line that names the key.
    """
    if not inspect.isclass(target) and not isinstance(inspect.unwrap(target), _FUNCTIONS):
        raise ContractError(f"{key}: {target!r} is no class and no function.")
    module = module_of(target)
    if is_forbidden(module):
        raise ContractError(
            f"{key}: {path} is {module}.{getattr(target, '__qualname__', '')}, and configurations "
            f"call nothing of {module.partition('.')[0]}."
        )


_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)


def is_forbidden(module: str) -> bool:
    """Whether a configuration may call nothing of this module."""
    root = module.partition(".")[0]
    return not root or root in sys.stdlib_module_names or root in ("numpy", "scipy")


def check_general(key: str, path: str, target: Callable[..., object]) -> None:
    """Check a class path for a parameter without a type annotation.

    Taken are what Ritz exports, models, samplers, operators and the like of NetKet, what is in
    flax.linen, flax.nnx, optax and jax.nn, and what is defined in modules of the user's own, which
    are not installed.

    Raises:
        ContractError: For everything else; it is not called.
    """
    check_harmless(key, path, target)
    module = module_of(target)
    if is_users(module) or within(module, _MAKERS) or _is_exported(module, target):
        return
    raise ContractError(
        f"{key}: {path} is refused: here, what Ritz, NetKet, flax, optax and jax.nn offer to make "
        "is taken, and classes and functions of your own modules."
    )


def _is_exported(module: str, target: Callable[..., object]) -> bool:
    """Whether a class is one that Ritz exports, or a function one that returns such."""
    package = sys.modules.get(".".join(module.split(".")[:2]))
    public = getattr(package, getattr(target, "__name__", ""), None) is target
    if not public or not within(module, ("ritz",)):
        return False
    returned = (target,) if inspect.isclass(target) else return_kinds(target)
    return bool(returned) and all(within(kind.__module__, _FIELD) for kind in returned)


def is_users(module: str) -> bool:
    """Whether a module is a file of the user's own: of no package that was installed."""
    if within(module, _FIELD) or is_forbidden(module):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"
    path = Path(os.path.realpath(file))
    library = Path(os.path.realpath(sysconfig.get_paths()["stdlib"]))
    return not {"site-packages", "dist-packages"} & set(path.parts) and library not in path.parents


def contract_of(hint: Hint) -> Contract | None:
    """The contract of a parameter with this annotation; None if it is not specific."""
    kinds = _kinds(hint)
    if kinds is None:
        return None
    kinds = tuple(kind for kind in kinds if kind not in (type(None), str))
    # Built-in types allow no class: numpy.float64 is a float.
    if not kinds or any(_is_plain(kind) for kind in kinds):
        return None
    return Contract(" or ".join(dict.fromkeys(kind.__name__ for kind in kinds)), kinds)


def _is_plain(kind: type) -> bool:
    return is_forbidden(kind.__module__) or within(kind.__module__, ("jaxtyping",))


def return_kinds(function: Callable[..., object]) -> tuple[type, ...] | None:
    """The classes that a function says to return, without None; None if it says nothing."""
    function = inspect.unwrap(function)
    try:
        hint = typing.get_type_hints(function).get("return", Any)
    except Exception:  # another annotation has a name that exists for type checkers only
        hint = getattr(function, "__annotations__", {}).get("return", Any)
    kinds = _kinds(hint, containers=False)
    return None if kinds is None else tuple(k for k in kinds if k is not type(None))


def _kinds(hint: Hint, containers: bool = True) -> tuple[type, ...] | None:
    """The classes that an annotation is made of; those in a container, if these are looked for."""
    origin = typing.get_origin(hint)
    if hint is None:
        return (type(None),)
    if hint in _BARE or isinstance(hint, str | typing.TypeVar):
        return None
    if origin in (typing.Annotated, typing.ClassVar):
        return _kinds(typing.get_args(hint)[0], containers)
    if origin in _UNIONS or (containers and origin in _CONTAINERS):
        inner = [a for a in typing.get_args(hint) if a is not Ellipsis]
        found = [_kinds(argument, containers) for argument in inner]
        if not found or any(kinds is None for kinds in found):
            return None
        return tuple(kind for kinds in found for kind in cast(Any, kinds))
    kind = origin or hint
    is_class = inspect.isclass(kind) and not getattr(kind, "_is_protocol", False)
    return (kind,) if is_class else None


def module_of(target: Callable[..., object]) -> str:
    """Name of the module that defines a class or function."""
    return getattr(inspect.unwrap(target), "__module__", None) or ""


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of `packages`, or part of one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)
