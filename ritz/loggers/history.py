"""Columns of numbers that grow, and the tree of them that a log holds in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ritz.extras import needs
from ritz.folders.view import ERRORS
from ritz.html import brief, never_fails, sparkline, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUICK = {np.dtype(np.float64): float, np.dtype(np.int64): int}
_FILL = {"f": np.nan, "c": np.nan, "O": None}


def _array(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in "US":
        return array.astype(object)
    # Files of text keep double precision only: a resumed log would hold other numbers.
    return array.astype(float) if array.dtype.kind == "f" else array


class Column:
    """One quantity over the steps; appending is O(1).

    The type is widened when needed: whole numbers become floats, and floats complex.
    """

    def __init__(self, values: ArrayLike = ()):
        array = _array(values)
        self._buffer = array
        self._length = len(array)
        self._quick: type | None = None
        """The type of values that need no conversion."""

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> np.ndarray:
        """All values, shape (n, *shape of one)."""
        return self._buffer[: self._length]

    def append(self, value: ArrayLike) -> None:
        """Add a value.

        Raises:
            ValueError: If its shape differs from that of earlier values.
        """
        n, buffer = self._length, self._buffer
        if type(value) is self._quick:
            if n == len(buffer):
                self._grow(buffer.dtype)
            self._buffer[n] = value
            self._length = n + 1
            return
        array = _array(value)
        if not n:  # also after a truncation to nothing: then any shape and type is allowed
            self._buffer = np.empty((8, *array.shape), array.dtype)
        elif array.shape != buffer.shape[1:]:
            raise ValueError(
                f"a value of shape {array.shape} cannot follow values of shape {buffer.shape[1:]}; "
                "log it under another name."
            )
        else:
            dtype = np.result_type(buffer.dtype, array.dtype)
            if n == len(buffer) or dtype != buffer.dtype:
                self._grow(dtype)
        self._buffer[n] = array[()]
        self._length = n + 1
        self._quick = _QUICK.get(self._buffer.dtype) if self._buffer.ndim == 1 else None

    def extend(self, values: np.ndarray) -> None:
        """Add several values, shape (n, *shape of one), of a type that fits those before."""
        n, more = self._length, len(values)
        if n + more > len(self._buffer):
            self._grow(self._buffer.dtype, n + more)
        self._buffer[n : n + more] = values
        self._length = n + more

    def _grow(self, dtype: np.dtype, least: int = 8) -> None:
        grown = np.empty((max(least, 2 * self._length), *self._buffer.shape[1:]), dtype)
        grown[: self._length] = self.values
        self._buffer = grown

    def pad(self, length: int) -> None:
        """Fill up to `length` with NaN (None for strings)."""
        missing = length - self._length
        if missing <= 0:
            return
        dtype = self._buffer.dtype
        if dtype.kind not in _FILL:
            dtype = np.dtype(float)
        fill = np.full((missing, *self._buffer.shape[1:]), _FILL[dtype.kind], dtype)
        self._buffer = np.concatenate([self.values.astype(dtype), fill])
        self._length = length
        self._quick = None

    def truncate(self, length: int) -> None:
        """Drop all values after the first `length`."""
        self._length = min(length, self._length)
        self._quick = None


class History:
    """The fields of one logged quantity, with the steps at which it was logged.

    `history["Mean"]`, `history.Mean` and, for the main value, `np.asarray(history)` give arrays.
    """

    def __init__(
        self,
        fields: Mapping[str, ArrayLike] | None = None,
        iters: Sequence[float] | np.ndarray = (),
    ):
        self._iters = Column(np.asarray(iters, dtype=None if len(iters) else int))
        self._fields = {name: Column(values) for name, values in (fields or {}).items()}

    @property
    def iters(self) -> np.ndarray:
        """Steps at which the quantity was logged, shape (n,)."""
        return self._iters.values

    @property
    def main_value_name(self) -> str | None:
        """Name of the main field: "Mean" or "value", or the only one."""
        for name in ("Mean", "value"):
            if name in self._fields:
                return name
        return next(iter(self._fields)) if len(self._fields) == 1 else None

    @property
    def values(self) -> np.ndarray:
        """Values of the main field, shape (n, ...)."""
        name = self.main_value_name
        if name is None:
            raise ValueError(f"no main value among the fields {', '.join(self._fields)}; name one.")
        return self._fields[name].values

    def get(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps and the main field."""
        return self.iters, self.values

    def keys(self) -> list[str]:
        """Names of the fields, such as "Mean" and "Variance"."""
        return list(self._fields)

    def add_field(self, name: str, values: np.ndarray) -> None:
        """Add a whole field; one that is too short is filled up with NaN."""
        self._fields[name] = Column(values)

    def append(self, step: int, fields: Mapping[str, ArrayLike]) -> None:
        """Add the values of one step; a field that is missing, then or before, is NaN."""
        n = len(self._iters)
        for name, value in fields.items():
            if value is None:
                continue
            column = self._fields.get(name)
            if column is None:
                first = _array(value)
                column = self._fields[name] = Column(np.empty((0, *first.shape), first.dtype))
            column.pad(n)
            column.append(value)
        self._iters.append(step)

    def append_value(self, step: int, value: float) -> None:
        """Add the main field of one step; what `append` does, for a history of plain numbers."""
        column = self._fields.get("value")
        if column is None or len(column) != len(self._iters):
            self.append(step, {"value": value})
            return
        column.append(value)
        self._iters.append(step)

    def extend(self, steps: np.ndarray, fields: Mapping[str, np.ndarray]) -> None:
        """Add the values of several steps, after a step with values of the same types."""
        for name, values in fields.items():
            self._fields[name].pad(len(self._iters))
            self._fields[name].extend(values)
        self._iters.extend(steps)

    def truncate(self, step: int) -> None:
        """Drop what was logged at `step` or later."""
        keep = int(np.searchsorted(self.iters, step))
        self._iters.truncate(keep)
        for column in self._fields.values():
            column.truncate(keep)

    def to_dict(self) -> dict[str, np.ndarray]:
        """`iters` and the fields as arrays of one length."""
        for column in self._fields.values():
            column.truncate(len(self._iters))  # a row that failed halfway
            column.pad(len(self._iters))
        return {"iters": self.iters, **{k: c.values for k, c in self._fields.items()}}

    def plot(self, *args: Any, axes: "Axes | None" = None, **kwargs: Any) -> "Axes":
        """Draw the main field over the steps with matplotlib; returns the axes."""
        if axes is None:
            with needs("A plot", "plot"):
                from matplotlib import pyplot

            axes = pyplot.gca()
        axes.plot(self.iters, np.real(self.values), *args, **kwargs)
        return axes

    def __len__(self) -> int:
        return len(self._iters)

    def __contains__(self, name: str) -> bool:
        return name in self._fields or name == "iters"

    def __getitem__(self, name: str | int | slice | np.ndarray) -> np.ndarray:
        if not isinstance(name, str):
            return self.values[name]
        if name == "iters":
            return self.iters
        try:
            return self.to_dict()[name]
        except KeyError:
            raise KeyError(f"no field {name!r}; there are: {', '.join(self._fields)}") from None

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(name)
        return self[name]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.values)

    @never_fails
    def _repr_html_(self) -> str:
        return HistoryDict({"": self})._repr_html_()

    def __repr__(self) -> str:
        return f"History(keys={self.keys()}, n_iters={len(self)})"


Histories: TypeAlias = Any
"""A `History`, or dicts and lists of them, nested as the values were logged."""


class HistoryDict(dict[str, Histories]):
    """Histories by name, nested as they were logged; `data["a/b"]` is `data["a"]["b"]`."""

    @never_fails
    def _repr_html_(self) -> str:
        rows = [_summary(name, history) for name, history in _named(self, "")]
        return table(rows, ("quantity", "rows", "last value", ""))

    def __missing__(self, key: str) -> Histories:
        head, slash, rest = str(key).partition("/")
        if slash and head in self:
            inner = self[head]
            return inner[int(rest)] if isinstance(inner, list) else inner[rest]
        raise KeyError(f"nothing was logged as {key!r}; there are: {', '.join(map(str, self))}")


def _named(tree: Histories, name: str) -> Iterator[tuple[str, History]]:
    """All histories of a tree with their names, such as "a/b"."""
    if isinstance(tree, History):
        yield name, tree
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, inner in items:
        yield from _named(inner, f"{name}/{key}" if name else str(key))


def _summary(name: str, history: History) -> tuple[object, ...]:
    """Name, number of rows, last value with its error, and a curve."""
    if not len(history) or history.main_value_name is None:
        return name, len(history), "", ""
    last = brief(history.values[-1])
    error = next((field for field in ERRORS if field in history), None)
    if error is not None and history[error].ndim == 1:
        last += f" ± {float(np.real(history[error][-1])):.2g}"
    return name, len(history), last, sparkline(history.values)
