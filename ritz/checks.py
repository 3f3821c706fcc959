"""Checks of arguments: each refuses what is not allowed, and says what is."""

import contextlib
import math
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import SupportsIndex, TypeGuard, TypeVar

T = TypeVar("T")


def check_count(name: str, value: object, least: int) -> int:
    """`value` as an int, if it is a whole number of at least `least`.

    Raises:
        ValueError: Otherwise.
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # arrays of several numbers
            number = operator.index(value)
    if number is None or number < least:
        raise ValueError(
            f"{name} must be a whole number of at least {least}, but {value!r} was given."
        )
    return number


def check_seed(name: str, value: int) -> int:
    """`value`, if it can seed JAX's random keys: a whole number of 63 bits and a sign.

    Raises:
        ValueError: Otherwise.
    """
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} must lie between -2^63 and 2^63 - 1, but {value} was given.")
    return value


def check_number(name: str, value: object, least: float, *, strict: bool = False) -> float:
    """`value`, if it is a number of at least `least` (above it if `strict`).

    Raises:
        TypeError: If it is no number.
        ValueError: If it is too small.
    """
    if not _is_number(value):
        raise TypeError(f"{name} must be a number, but {value!r} was given.")
    if not (value > least if strict else value >= least):
        bound = "above" if strict else "at least"
        raise ValueError(f"{name} must be {bound} {least:g}, but {value!r} was given.")
    return value


def check_positive(name: str, value: object, or_zero: bool = False) -> float:
    """`value` as a float, if it is a finite number above zero, or zero if that is allowed.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite or too small.
    """
    wanted = "a number of at least 0" if or_zero else "a positive number"
    is_number = _is_number(value)
    if not is_number or not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        error = ValueError if is_number else TypeError
        raise error(f"{name} must be {wanted}, but {value!r} was given.")
    return float(value)


def check_fraction(name: str, value: object, most: float = 1.0) -> float:
    """`value` as a float, if it is a number from 0 to `most`.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is outside.
    """
    number = check_positive(name, value, or_zero=True)
    if number > most:
        raise ValueError(f"{name} must be between 0 and {most:g}, but {value!r} was given.")
    return number


def check_finite(name: str, value: object, unit: str | None = None) -> float:
    """`value` as a float, if it is a finite number.

    Raises:
        TypeError: If it is no number, with the unit that it has, if any.
        ValueError: If it is not finite.
    """
    is_number = _is_number(value)
    if not is_number or not math.isfinite(value):
        error = ValueError if is_number else TypeError
        of_unit = f", in {unit}" if unit else ""
        raise error(f"{name} must be a finite number{of_unit}, but {value!r} was given.")
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_flag(name: str, value: object) -> None:
    """Refuse values other than True and False.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, but {value!r} was given.")


def check_choice(name: str, value: T, allowed: Sequence[str]) -> T:
    """`value`, if it is one of those allowed.

    Raises:
        ValueError: Otherwise, with the allowed values.
    """
    if value not in allowed:
        names = ", ".join(map(repr, allowed[:-1])) + f" or {allowed[-1]!r}"
        raise ValueError(f"{name} must be {names}, but {value!r} was given.")
    return value


def named(key: str, action: Callable[[], T]) -> T:
    """Call a function; TypeErrors and ValueErrors from it begin with the argument's name.

    Raises:
        TypeError: If the action does.
        ValueError: If the action does.
    """
    try:
        return action()
    except (TypeError, ValueError) as error:
        raise type(error)(f"{key}: {error}") from error
