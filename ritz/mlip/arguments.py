"""Precisions and devices by name."""

import contextlib
import re
from typing import Any

import jax
import numpy as np

PRECISIONS = ("float32", "float64")
"""Precisions of features and networks."""


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
