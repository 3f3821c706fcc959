"""Numbers as programs write them."""

import re
from typing import Any

import numpy as np

_FORTRAN = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:[dDqQ]([+-]?\d+)|([+-]\d{3}))$")
"""With D in place of E, or without either where the exponent has three digits."""


def to_float(word: str) -> float:
    """A number in the notation of Python, or of Fortran such as "-7.5D+00".

    Raises:
        ValueError: If it is none.
    """
    found = _FORTRAN.match(word.strip())
    return float(f"{found[1]}e{found[2] or found[3]}" if found else word)


def to_floats(value: Any) -> np.ndarray | None:
    """An array of floats, from numbers or text with numbers; None if it is something else.

    Args:
        value: A number, an array, or a string such as "1.0D0 2.0D0".
    """
    if isinstance(value, str):
        try:
            numbers = [to_float(word) for word in value.replace(",", " ").split()]
        except ValueError:
            return None
        if not numbers:
            return None
        return np.array(numbers[0] if len(numbers) == 1 else numbers)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "US":
            return np.array([to_float(str(word)) for word in array.ravel()]).reshape(array.shape)
        if array.dtype.kind == "O" and all(
            isinstance(word, int | float | np.number) and not isinstance(word, bool)
            for word in array.ravel()
        ):
            array = array.astype(float)
    except (TypeError, ValueError):
        return None
    return array.astype(float) if array.dtype.kind in "fiu" else None
