"""The names and types of a row of plain numbers, by which rows that look alike are read fast."""

import operator
from collections.abc import Sequence
from typing import NamedTuple

from ritz.driver.rows import Path, fields_of
from ritz.types import Row, Value

Number = float | int | bool

_NUMBERS = frozenset({float, int, bool})
_LARGEST = 2**53
"""Whole numbers up to this one are exact as floats."""


class _Part(NamedTuple):
    """The names and types of a dict."""

    names: tuple[str, ...]
    kinds: tuple["type | _Part", ...]
    """For each name the type of a number or of a named tuple, or what is in a dict."""


class RowLayout(NamedTuple):
    """Where the numbers of a row are: those of dicts, nested, and of named tuples of floats."""

    top: _Part
    fields: list[tuple[Path, tuple[str, ...]]]
    """For each quantity its path, and its fields; a plain number has the field "value"."""
    types: list[type]
    """The type of each number."""

    @classmethod
    def of(cls, row: Row) -> "RowLayout | None":
        """The layout of a row; None if there is anything else in it."""
        fields: list[tuple[Path, tuple[str, ...]]] = []
        top = _part(row, (), fields)
        if top is None:
            return None
        layout = cls(top, fields, [])
        numbers: list[Number] = []
        if not row or not _read(row, top, numbers):
            return None
        layout.types.extend(map(type, numbers))
        return layout

    def numbers(self, row: Row) -> list[Number] | None:
        """All numbers of a row, in order; None if it has another layout."""
        found: list[Number] = []
        return (
            found if _read(row, self.top, found) and list(map(type, found)) == self.types else None
        )


def _part(row: Row, path: Path, fields: list[tuple[Path, tuple[str, ...]]]) -> _Part | None:
    kinds: list[type | _Part] = []
    for name, value in row.items():
        if type(name) is not str:
            return None
        here = (*path, name)
        if type(value) is dict:
            inner = _part(value, here, fields)
            if inner is None or not inner.names:
                return None
            kinds.append(inner)
            continue
        if not _is_plain(value):
            return None
        kinds.append(type(value))
        fields.append((here, tuple(fields_of(value) or ("value",))))
    return _Part(tuple(row), tuple(kinds))


def _read(row: Row, part: _Part, found: list[Number]) -> bool:
    """Add the numbers of a row; whether its names and kinds are those expected."""
    if tuple(row) != part.names:
        return False
    for value, kind in zip(row.values(), part.kinds, strict=True):
        own = type(value)
        if own is kind:
            if own is float:
                found.append(value)
            elif own in _NUMBERS:
                if abs(value) > _LARGEST:
                    return False
                found.append(value)
            else:
                found += value
        elif own is not dict or not isinstance(kind, _Part) or not _read(value, kind, found):
            return False
    return True


def _is_plain(value: Value) -> bool:
    """Whether it is a number, or a named tuple of floats that has its fields in order."""
    if type(value) in _NUMBERS:
        return True
    if not hasattr(value, "_fields") or set(map(type, value)) != {float}:
        return False
    named = fields_of(value) or {}
    return len(named) == len(value) and all(map(operator.is_, named.values(), value))


def by_quantity(layout: RowLayout, columns: Sequence[Value]) -> dict[Path, dict[str, Value]]:
    """Columns, one for each number, by the path of the quantity and the name of the field."""
    left = iter(columns)
    return {path: {field: next(left) for field in fields} for path, fields in layout.fields}
