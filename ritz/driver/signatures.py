"""Checks the arguments of functions when they are defined or given, not when first called."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])
Kind = TypeVar("Kind")


def suggests_names(
    function: Function,
    more: Sequence[Callable[..., object]] = (),
    instead: Mapping[str, str] = MappingProxyType({}),
) -> Function:
    """Let a function refuse an unknown argument with the name that was probably meant.

    Args:
        function: A function or method; of `__init__`, messages name the class of the object, or the
            base class whose `__init__` was given the argument.
        more: Functions, or classes, to which it passes further arguments on.
        instead: Arguments of these that it does not take -> what to do instead, for messages.

    Raises:
        TypeError: From the wrapped function, naming the nearest argument.
    """
    name_of_function = function.__name__
    takes = dict.fromkeys(name for one in (function, *more) for name in _named_parameters(one))
    known = [name for name in takes if name not in instead]

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        for name in kwargs:
            if name not in known:
                near = [one for one in known if name in one.split("_")]
                near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}=?" if near else f"it takes: {', '.join(known)}."
                label = name_of_function
                if name_of_function == "__init__":
                    label = _owner(type(args[0]), checked)
                raise TypeError(f"{label} has no argument {name!r}; {instead.get(name, hint)}")
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _owner(kind: type, init: Callable[..., object]) -> str:
    """Name of the class whose `__init__` was given an argument: `kind`, or one of its bases."""
    makers = [base for base in kind.__mro__ if "__init__" in vars(base)]
    to_blame = (base for base in makers[1:] if vars(base)["__init__"] is init)
    inherits = vars(makers[0])["__init__"] is init
    return (kind if inherits else next(to_blame, kind)).__name__


def _named_parameters(function: Callable[..., object]) -> list[str]:
    """The parameters that can be given by name, without `self`."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind not in variadic and one.name != "self"]


def suggests_fields(
    kind: type[Kind], instead: Mapping[str, str] = MappingProxyType({})
) -> type[Kind]:
    """Let a dataclass refuse an unknown field as `suggests_names` does.

    Args:
        kind: The dataclass.
        instead: Fields that others have -> what to do instead, for messages.
    """
    kind.__init__ = suggests_names(kind.__init__, instead=instead)
    return kind


def check_arguments(
    label: str, function: Callable[..., object], names: Sequence[str], bound: bool
) -> None:
    """Refuse a function that cannot be called with these positional arguments.

    Args:
        label: Its name in messages, such as "MyCallback.on_step_end".
        function: The function.
        names: The arguments that it will be given.
        bound: Whether `self` comes before them.

    Raises:
        TypeError: With the line to write.
    """
    given = ["self", *names] if bound else list(names)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions written in C nothing is known
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        name = label.rpartition(".")[2]
        raise TypeError(
            f"{label} takes ({takes}), but is called with ({', '.join(names)}); write "
            f"`def {name}({', '.join(given)})`."
        ) from error


def parameters_of(method: Callable[..., object]) -> list[str]:
    """The names of a method's parameters, without `self`."""
    return list(inspect.signature(method).parameters)[1:]


def nearest_method(
    name: str, method: object, known: Sequence[str], marks: Collection[str]
) -> str | None:
    """The name of a method that is known which `name` resembles, or None.

    Args:
        name: The name of a method.
        method: That method.
        known: The names to compare with.
        marks: Parameters by which a method is one of them, whatever its name is.
    """
    is_one = inspect.isfunction(method) and {*marks} <= {*parameters_of(method)}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0 if is_one else 0.75)
    return near[0] if near else None
