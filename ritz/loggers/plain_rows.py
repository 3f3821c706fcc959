"""Rows of plain floats, gathered to be written together."""

import operator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ritz.driver.rows import fields_of
from ritz.types import Row, Value


class Gathered(NamedTuple):
    """Consecutive rows with the same names."""

    steps: Int[np.ndarray, " n_rows"]
    columns: dict[str, dict[str, Float[np.ndarray, " n_rows"]]]
    """Name -> field -> values; a plain number has the field "value"."""


_FLOATS = {float}

MOST = 1000
"""Number of rows after which they should be taken."""


class PlainRows:
    """Gathers rows of floats, and of named tuples of floats, that look like an expected one."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._kinds: tuple[type, ...] = ()
        self._fields: list[tuple[str, ...]] = []
        self._steps: list[int] = []
        self._values: list[float] = []
        """All values in one list: objects that the garbage collector must follow would cost."""

    def expect(self, row: Row) -> None:
        """Gather rows with the names and kinds of `row`, if it is plain; otherwise none."""
        kinds = tuple(map(type, row.values()))
        if kinds == self._kinds and tuple(row) == self._names:
            return
        plain = all(type(k) is str for k in row) and all(map(_is_plain, row.values()))
        self._names, self._kinds = (tuple(row), kinds) if plain else ((), ())
        self._fields = [tuple(fields_of(value) or ("value",)) for value in row.values()]

    def add(self, step: int, row: Row) -> bool:
        """Take the row, if it is as expected; whether it was."""
        if tuple(row) != self._names or not self._names:
            return False
        flat: list[float] = []
        for value, kind in zip(row.values(), self._kinds, strict=True):
            if type(value) is not kind:
                return False
            if kind is float:
                flat.append(value)
            else:
                flat += value
        for number in flat:
            if type(number) is not float:
                return False
        self._values += flat
        self._steps.append(step)
        return True

    def forget(self) -> None:
        """Expect no row, since those before the next one are dropped or belong to another run."""
        self._names, self._kinds = (), ()

    @property
    def is_empty(self) -> bool:
        """Whether no rows are gathered."""
        return not self._steps

    @property
    def is_full(self) -> bool:
        """Whether there are enough rows to take them."""
        return len(self._steps) >= MOST

    def take(self) -> Gathered | None:
        """All rows since the last call, or None if there are none."""
        if not self._steps:
            return None
        table = np.array(self._values, float).reshape(len(self._steps), -1)
        columns_left = iter(np.ascontiguousarray(table.T))
        columns = {}
        for name, fields in zip(self._names, self._fields, strict=True):
            columns[name] = {field: next(columns_left) for field in fields}
        gathered = Gathered(np.array(self._steps), columns)
        self._steps, self._values = [], []
        return gathered


def _is_plain(value: Value) -> bool:
    if type(value) is float:
        return True
    if not hasattr(value, "_fields") or set(map(type, value)) != _FLOATS:
        return False
    named = fields_of(value) or {}
    return len(named) == len(value) and all(map(operator.is_, named.values(), value))
