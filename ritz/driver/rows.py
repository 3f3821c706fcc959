"""Reading a step's row: names, nested values and statistics."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ritz.folders.view import ERRORS
from ritz.types import Row, Value

Path = tuple[str, ...]


def children(value: Any) -> Row | None:
    """The named parts of `value`, or None if it is a number, an array or a string.

    Dicts have their keys, statistics what their `to_dict` gives, lists and tuples their indices
    and named tuples their fields.
    """
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    fields = fields_of(value)
    if fields is None and isinstance(value, list | tuple):
        return {str(i): v for i, v in enumerate(value)}
    return fields


def fields_of(value: Any) -> Row | None:
    """The fields of statistics and named tuples; None for anything else."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "_asdict"):
        return value._asdict()
    return None


def mean_of(value: Value) -> Value:
    """The mean of statistics; other values unchanged."""
    mean = getattr(value, "mean", None)
    return value if mean is None or callable(mean) else mean


def error_of(value: object) -> Value:
    """The error of the mean of statistics, by the names that Ritz and NetKet use; None if none."""
    for name in ERRORS:
        error = getattr(value, name, None)
        if error is not None:
            return error
    return None


def leaves(row: Row, prefix: Path = ()) -> Iterator[tuple[Path, Value]]:
    """All numbers, arrays and strings of a row with their paths; None is left out."""
    for key, value in row.items():
        path = (*prefix, str(key))
        parts = children(value)
        if parts is not None:
            yield from leaves(parts, path)
        elif value is not None:
            yield path, value


def scalars(row: Row, separator: str) -> Iterator[tuple[str, float]]:
    """All numbers of a row as floats: complex ones as `re` and `im`, arrays by index.

    Strings are left out.
    """
    for path, value in leaves(row):
        name = separator.join(path)
        if type(value) is float:
            yield name, value
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            continue
        for index in np.ndindex(array.shape):
            number = array[index]
            full = separator.join([name, *map(str, index)])
            if array.dtype.kind == "c":
                yield f"{full}{separator}re", float(np.real(number))
                yield f"{full}{separator}im", float(np.imag(number))
            else:
                yield full, float(number)
