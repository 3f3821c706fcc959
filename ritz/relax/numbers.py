"""Checks and converts numbers that are given."""

import math
import numbers
from typing import Any

import jax.numpy as jnp


def positive(name: str, value: Any) -> float:
    """`value` as a float, if it is finite and above zero.

    Raises:
        ValueError: Otherwise.
    """
    if not _is_number(value) or not value > 0:
        raise ValueError(f"{name} must be a positive number, but {value!r} was given.")
    return float(value)


def finite(name: str, value: Any, unit: str) -> float:
    """`value` as a float, if it is finite.

    Raises:
        ValueError: Otherwise, with its unit.
    """
    if not _is_number(value):
        raise ValueError(f"{name} must be a number, in {unit}, but {value!r} was given.")
    return float(value)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def as_real(leaf: Any, real: Any) -> Any:
    """A leaf as an array, with floating-point numbers in the precision `real`."""
    array = jnp.asarray(leaf)
    return array.astype(real) if jnp.issubdtype(array.dtype, jnp.floating) else array
