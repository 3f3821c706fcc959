"""Rows of plain numbers, gathered to be written together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from ritz.driver.rows import Path
from ritz.loggers.row_layout import Number, RowLayout, by_quantity
from ritz.types import Row


class Gathered(NamedTuple):
    """Consecutive rows with the same names."""

    steps: Int[np.ndarray, " n_rows"]
    columns: dict[Path, dict[str, Shaped[np.ndarray, " n_rows"]]]
    """Path of the quantity -> field -> values; a plain number has the field "value"."""


MOST = 1000
"""Number of rows after which they should be taken."""


class PlainRows:
    """Gathers rows of plain numbers that look like an expected one, see `RowLayout`."""

    def __init__(self) -> None:
        self._layout: RowLayout | None = None
        self._steps: list[int] = []
        self._values: list[Number] = []
        """All values in one list: objects that the garbage collector must follow would cost."""

    def expect(self, row: Row) -> None:
        """Gather rows with the names and kinds of `row`, if it is plain; otherwise none."""
        if self._layout is None or self._layout.numbers(row) is None:
            self._layout = RowLayout.of(row)

    def add(self, step: int, row: Row) -> bool:
        """Take the row, if it is as expected; whether it was."""
        if self._layout is None:
            return False
        numbers = self._layout.numbers(row)
        if numbers is None:
            return False
        self._values += numbers
        self._steps.append(step)
        return True

    def forget(self) -> None:
        """Expect no row, since those before the next one are dropped or belong to another run."""
        self._layout = None

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
        assert self._layout is not None, "rows were forgotten before they were taken"
        table = np.array(self._values, float).reshape(len(self._steps), -1).T
        columns = [
            np.ascontiguousarray(column.astype(kind))
            for column, kind in zip(table, self._layout.types, strict=True)
        ]
        gathered = Gathered(np.array(self._steps), by_quantity(self._layout, columns))
        self._steps, self._values = [], []
        return gathered
