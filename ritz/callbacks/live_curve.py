"""A curve of any length in a bounded memory."""

import numpy as np
from jaxtyping import Float

_MOST_ROWS = 2000
"""Largest number of thinned rows."""
_NEWEST_ROWS = 1000
"""Number of rows that are kept as they come, until they are thinned together."""


class LiveCurve:
    """Rows of a run, of which at most 3000 are kept.

    Of each interval of steps the lowest and the highest row are kept, with their own errors, so
    that a curve looks as it does with all rows. When these become too many, all intervals double
    their lengths. The newest rows are all there.
    """

    def __init__(self) -> None:
        self._old = np.empty((0, 3))
        self._new: list[tuple[int, float, float]] = []
        self._length = 1
        """Number of steps in an interval."""

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    @property
    def rows(self) -> Float[np.ndarray, "n 3"]:
        """Step, value and error of each row that is kept, in the order of steps."""
        return np.concatenate([self._old, np.array(self._new, float).reshape(-1, 3)])

    def add(self, step: int, value: float, error: float) -> None:
        """Add a row; steps must grow."""
        self._new.append((step, value, error))
        if len(self._new) < _NEWEST_ROWS:
            return
        rows = self.rows
        while len(rows) > _MOST_ROWS:
            rows = _extremes(rows, self._length)
            if len(rows) > _MOST_ROWS:
                self._length *= 2
        self._old, self._new = rows, []

    def cut(self, step: int) -> None:
        """Drop the rows from `step` on."""
        self._old = self._old[self._old[:, 0] < step]
        self._new = [row for row in self._new if row[0] < step]


def _extremes(rows: Float[np.ndarray, "n 3"], length: int) -> Float[np.ndarray, "m 3"]:
    """The first row, and the lowest and the highest finite one of each interval."""
    intervals, values = rows[:, 0] // length, rows[:, 1]
    starts = np.flatnonzero(np.diff(intervals, prepend=-1))
    finite = np.isfinite(values)
    low = np.lexsort((np.where(finite, values, np.inf), intervals))
    high = np.lexsort((np.where(finite, -values, np.inf), intervals))
    return rows[np.unique(np.concatenate([[0], low[starts], high[starts]]))]
