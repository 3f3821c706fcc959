"""Objects that a configuration names: a class path with arguments."""

import difflib
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from ritz.extras import needed_extra
from ritz.plugins import chosen, plugins
from ritz.stages.contract import Contract, ContractError, Hint, check_general, contract_of

_NOT_SETTINGS = ("parent", "name")
"""Fields that flax adds to every module."""
_MOST_CHOICES = 40
"""Largest number of names listed in a message."""
_CLOSE = 0.5
"""Least similarity, as in `difflib`, of names that are suggested."""
_UNIONS = (typing.Union, types.UnionType)


def is_part(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether `value` describes an object: `{"class_path": ..., "init_args": {...}}`."""
    return isinstance(value, Mapping) and "class_path" in value


def make(
    key: str,
    value: object,
    context: Mapping[str, object] | None = None,
    takes: Contract | None = None,
) -> Any:
    """Make the object that `value` describes, and those that its arguments describe.

    What a path names is checked before it is called: against `takes`, or, for arguments, against
    the annotation of the parameter that they go to. Modules are imported, but nothing of the
    standard library.

    Args:
        key: The name of the value, for messages.
        value: `{"class_path": "optax.adam", "init_args": {"learning_rate": 0.01}}`, or only the
            path, with a dot or a colon before the last name. A class or function is called; lists
            and dicts are looked through; anything else is taken as it is.
        context: Arguments for a callable that has parameters of these names, where `init_args` does
            not give them.
        takes: The contract of the path; by default `contract.check_general`. It says where names
            without a dot are looked for.

    Raises:
        ContractError: If the path names something else; it is not called.
        ValueError: If the path or the arguments are wrong: one line that names the key.
    """
    named = takes is not None and takes.modules
    if isinstance(value, str) and (named or _looks_like_path(value)):
        value = {"class_path": value}
    if is_part(value):
        return _make_part(key, value, context, takes)
    if inspect.isclass(value) or inspect.isfunction(value):
        return call(key, value, None, context)
    return _looked_through(key, value, takes)


def _make_part(
    key: str,
    value: Mapping[str, Any],
    context: Mapping[str, object] | None,
    takes: Contract | None,
) -> Any:
    unknown = sorted(set(value) - {"class_path", "init_args"})
    if unknown:
        raise ValueError(
            f"{key}: {unknown[0]!r} stands beside class_path; arguments go into init_args."
        )
    path = value["class_path"]
    target = find(key, path, takes)
    if takes is None:
        check_general(key, path, target)
    else:
        takes.check(key, path, target)
    made = call(key, target, value.get("init_args"), context)
    if takes is not None:
        takes.check_made(key, path, made)
    return made


def _looked_through(key: str, value: Any, takes: Contract | None = None) -> Any:
    if is_part(value):
        return _make_part(key, value, None, takes)
    if isinstance(value, Mapping):
        return {k: _looked_through(f"{key}.{k}", v, takes) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_looked_through(f"{key}.{i}", v, takes) for i, v in enumerate(value))
    return value


def find(key: str, path: object, takes: Contract | None = None) -> Any:
    """The object named by a path such as "optax.adam", or by a name that Ritz or a plug-in has.

    Args:
        key: The name of the value, for messages.
        path: The path.
        takes: What is needed there; it says where names without a dot are looked for, and messages
            offer nothing else.

    Raises:
        ContractError: If it is of the standard library, which is not even imported.
        ValueError: If nothing has this name, or the plug-ins of several packages have it.
    """
    if not isinstance(path, str) or not path:
        raise ValueError(f"{key}: class_path must be a name such as 'optax.adam', not {path!r}.")
    module, _, name = path.replace(":", ".").rpartition(".")
    parts = [*module.split("."), name]
    hint = "" if takes is None else takes.hint
    if parts[0] in sys.stdlib_module_names or any(part.startswith("__") for part in parts[1:]):
        raise ContractError(
            f"{key}: {path!r} is refused: configurations call nothing of Python's own modules"
            f" (a module of yours needs another name than {parts[0]!r}){hint}."
        )
    tried = [module] if module else list(takes.modules if takes else ())
    for candidate in tried:
        found = getattr(_imported(key, path, candidate), name, None)
        if found is not None and not inspect.ismodule(found):  # `sr` beside `SR`
            return found
    offered = plugins(takes.plugins) if takes and takes.plugins and not module else []
    if any(plugin.name == name for plugin in offered):
        try:
            return chosen(offered, name).load()
        except (ValueError, ImportError) as error:
            raise ValueError(f"{key}: {error}") from error
    where = f"in {', '.join(tried)}" if tried else "without a module"
    if takes and takes.plugins and not module:
        where += ", and no installed plug-in has this name"
    known = [plugin.name for plugin in offered]
    instead = dict(takes.elsewhere if takes else ()).get(name.lower())
    near = f"; {instead}." if instead else _nearest(name, tried, takes, known)
    near = near or f"{hint or _listed(tried, takes, known)}."
    raise ValueError(f"{key}: there is no {name!r} {where}{near}")


def _imported(key: str, path: str, module: str) -> object:
    """A module; None if there is none of this name.

    Raises:
        ValueError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        extra = needed_extra(missing)
        if extra is not None:
            raise ValueError(f"{key}: {path!r} needs pip install '{extra}' ({error})") from error
        if not f"{module}.".startswith(f"{missing or ' '}."):
            raise ValueError(f"{key}: {path!r} needs the package {missing}.") from error
        return None
    except Exception as error:  # a user's module may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{key}: {module} cannot be imported: {reason}") from error


def _nearest(
    name: str, modules: Sequence[str], takes: Contract | None, plugin_names: Sequence[str] = ()
) -> str:
    """Names in `modules`, or of plug-ins, similar to `name`, as the end of a sentence.

    Of those that are similar to the same tenth, or differ in case, the first module's come first.
    """
    known = {plugin.lower(): plugin for plugin in plugin_names}
    for module in modules:
        try:
            found = vars(importlib.import_module(module))
        except ImportError:
            continue
        for label, value in sorted(found.items()):
            if label[0] != "_" and _makes(value, takes):
                known.setdefault(label.lower(), label)
    close = {n: difflib.SequenceMatcher(None, n, name.lower()).ratio() for n in known}
    near = sorted((n for n in known if close[n] >= _CLOSE), key=lambda n: -round(close[n], 1))
    return f"; did you mean {' or '.join(known[n] for n in near[:3])}?" if near else ""


def _makes(value: object, takes: Contract | None = None) -> bool:
    """Whether something can be called to make an object, of the kind that is needed.

    States of optimisers and of samplers are results, and base classes make nothing.
    """
    if inspect.isclass(value):
        is_base = inspect.isabstract(value) or value.__name__.startswith("Abstract")
        if is_base or issubclass(value, tuple):
            return False
    return callable(value) and (takes is None or takes.allows(value))


def _listed(
    modules: Sequence[str], takes: Contract | None, plugin_names: Sequence[str] = ()
) -> str:
    """The names in `modules`, and of plug-ins, as the end of a sentence."""
    names = sorted({*_choices(modules, takes), *plugin_names})
    if len(names) > _MOST_CHOICES:
        return f"; there are {len(names)} names, such as {', '.join(names[:3])}"
    return f"; there are: {', '.join(names)}" if names else ""


def _choices(modules: Sequence[str], takes: Contract | None = None) -> list[str]:
    """Names to choose from in `modules`: defined there, or exported by their package."""
    names: set[str] = set()
    for module in modules:
        try:
            found = vars(importlib.import_module(module))
        except ImportError:
            continue
        owners = {
            name: value.__module__
            for name, value in found.items()
            if name[0] != "_"
            and (inspect.isclass(value) or inspect.isfunction(value))
            and _makes(value, takes)
        }
        defined = {name for name, owner in owners.items() if owner == module}
        root = module.partition(".")[0]
        exported = {name for name, owner in owners.items() if owner.partition(".")[0] == root}
        names |= defined or exported
    return sorted(names)


def call(
    key: str,
    function: Callable[..., object],
    arguments: Mapping[str, object] | None,
    context: Mapping[str, object] | None,
) -> Any:
    """Call a class or function with the arguments of a configuration.

    Raises:
        ValueError: If it does not take them, or refuses them: one line that names the key.
    """
    arguments = dict(arguments or {})
    if not callable(function):
        raise ValueError(f"{key}: {function!r} is no class and no function.")
    given = {k: v for k, v in (context or {}).items() if k not in arguments}
    parameters = _parameters(function)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = {k: v for k, v in given.items() if k in parameters}
    wrong = [name for name in arguments if parameters and name not in parameters]
    if wrong and not open_ended:
        known = [n for n in parameters if n not in (context or {}) and n not in _NOT_SETTINGS]
        label = getattr(function, "__name__", repr(function))
        near = difflib.get_close_matches(str(wrong[0]), known, n=1)
        hint = f"did you mean {key}.{near[0]}?" if near else f"it takes: {', '.join(known)}."
        raise ValueError(f"{key}.{wrong[0]}: {label} has no such argument; {hint}")
    _refuse_missing(key, function, parameters, {**arguments, **given})
    hints = _parameter_hints(function)
    made = {
        name: _looked_through(f"{key}.{name}", v, contract_of(hints.get(name, Any)))
        for name, v in arguments.items()
    }
    _refuse_non_numbers(key, hints, parameters, made)
    try:
        return function(**made, **given)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{key}: {reason}") from error


def _parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The parameters; empty where they are unknown."""
    try:
        found = inspect.signature(function).parameters
        kinds = {p.kind for p in found.values()}
        hidden = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        # Behind a metaclass, as of NetKet's structures.
        if kinds == hidden and inspect.isclass(function):
            found = dict(list(inspect.signature(function.__init__).parameters.items())[1:])
    except (TypeError, ValueError):
        return {}
    return found


def _refuse_missing(
    key: str,
    function: Callable[..., object],
    parameters: Mapping[str, inspect.Parameter],
    given: Mapping[str, object],
) -> None:
    """Say which arguments are needed and not given."""
    needed = [
        name
        for name, p in parameters.items()
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and name not in given
    ]
    if needed:
        label = getattr(function, "__name__", repr(function))
        example = ", ".join(f"{name}: ..." for name in needed)
        raise ValueError(
            f"{key}: {label} needs {', '.join(needed)}; give class_path and "
            f"init_args: {{{example}}}."
        )


def _parameter_hints(function: Callable[..., object]) -> dict[str, Hint]:
    try:
        if not inspect.isclass(function):
            return _hints(inspect.unwrap(function))
        return {**_hints(function), **_hints(function.__init__)}
    except Exception:  # names that are there for type checkers only
        return {}


def _refuse_non_numbers(
    key: str,
    hints: Mapping[str, Hint],
    parameters: Mapping[str, inspect.Parameter],
    arguments: Mapping[str, object],
) -> None:
    """Refuse a string, or null, for a parameter whose type says that it is a number."""
    for name, value in arguments.items():
        if not (isinstance(value, str) or value is None) or name not in hints:
            continue
        is_default = name in parameters and parameters[name].default is value
        if not is_default and not _takes(hints[name], type(value)):
            shown = "null" if value is None else repr(value)
            needed = _type_text(hints[name])
            raise ValueError(f"{key}.{name}: {shown} was given, but {needed} is needed.")


def _hints(owner: object) -> dict[str, Hint]:
    return dict(typing.get_type_hints(owner))


def _type_text(hint: Hint) -> str:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    return " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)


def _takes(hint: Hint, kind: type) -> bool:
    """Whether a value of a type may be of that kind; only plain numbers are known not to be."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    numeric = [k for k in kinds if k in (int, float, complex, bool)]
    return not numeric or any(k in (kind, Any, object) for k in kinds)


def _looks_like_path(text: str) -> bool:
    parts = text.replace(":", ".").split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)
