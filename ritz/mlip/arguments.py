"""Checks of arguments that several parts of the domain take."""

import contextlib
import math
import re
from typing import Any

import jax
import numpy as np

PRECISIONS = ("float32", "float64")
"""Precisions of features and networks."""


def check_positive(name: str, value: Any, or_zero: bool = False) -> float:
    """A finite number above zero, or zero if that is allowed.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number, but {value!r} was given.")
    if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        condition = "not be negative" if or_zero else "be above zero"
        raise ValueError(f"{name} must {condition} and finite, but {value!r} was given.")
    return float(value)


def check_fraction(name: str, value: Any, most: float = 1.0) -> float:
    """A number from 0 to `most`.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is outside.
    """
    if check_positive(name, value, or_zero=True) > most:
        raise ValueError(f"{name} must be between 0 and {most:g}, but {value!r} was given.")
    return float(value)


def check_dtype(name: str, value: Any) -> str:
    """The name of a precision, from a name or a type of NumPy or JAX.

    Raises:
        ValueError: If it is another type.
    """
    try:
        found = np.dtype(value).name
    except TypeError:
        found = str(value)
    if found not in PRECISIONS:
        raise ValueError(f"{name} must be 'float32' or 'float64', but {value!r} was given.")
    return found


def check_flag(name: str, value: Any) -> None:
    """True or False.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, but {value!r} was given.")


def check_device(name: str, value: Any) -> str | None:
    """The name of a device, which need not be there before it is used; or None.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is no name such as "cpu", "gpu" or "cuda:1".
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name such as 'cuda:1', but {value!r} was given.")
    if not re.fullmatch(r"[a-zA-Z]\w*(:\d+)?", value):
        raise ValueError(f"{name} must be 'cpu', 'gpu', 'cuda:1' or the like, not {value!r}.")
    return value


def find_device(device: str | None) -> Any:
    """A device of JAX from "cpu", "gpu" or "cuda", with a number as in "cuda:1"; None for None.

    Raises:
        ValueError: If there is no such device; those that are there are listed.
    """
    if device is None:
        return None
    kind, _, number = str(device).partition(":")
    try:
        return jax.devices(kind)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        there = ", ".join(sorted(f"{d.platform}:{d.id}" for d in jax.devices()))
        raise ValueError(f"there is no device {device!r}; this machine has {there}.") from error


def default_device(device: str | None) -> contextlib.AbstractContextManager[Any]:
    """Within it, new arrays go to a device; see `find_device`."""
    found = find_device(device)
    return contextlib.nullcontext() if found is None else jax.default_device(found)
