"""Checks the arguments of functions when they are defined or given, not when first called."""

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def suggests_names(function: Function) -> Function:
    """Let a method refuse an unknown argument with the name that was probably meant.

    Raises:
        TypeError: From the wrapped method, naming the nearest argument.
    """
    known = list(inspect.signature(function).parameters)[1:]

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}=?" if near else f"it takes: {', '.join(known)}."
                raise TypeError(f"{function.__name__} has no argument {name!r}; {hint}")
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


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
