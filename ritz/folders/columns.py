"""Columns of logs of any length, read one by one and thinned, for plots and `ritz status`."""

import csv
import itertools
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from ritz.folders.journal_rows import Quantities, journal_rows, last_journal_row
from ritz.folders.json_columns import JSONColumns, Span
from ritz.folders.tail import blocks_backwards, first_line, last_line, sampled_lines

MOST_POINTS = 4000
"""Number of rows read from a long CSV file."""

_NOT_FINITE = frozenset(("", "nan", "inf", "-inf"))
"""Cells without a finite number."""

_LONGEST_HEAD = 200

Column = tuple[np.ndarray, np.ndarray]
"""Steps and real values."""


class LogColumns(ABC):
    """A log on disk.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.quantities: dict[str, tuple[str, ...]] = {}
        """The fields of each quantity, in the order of the log."""

    @abstractmethod
    def column(self, name: str, field: str) -> Column:
        """Steps and values of one field; numbers of a quantity without fields are `value`."""

    @abstractmethod
    def last(self) -> tuple[int, Quantities] | None:
        """Step and quantities of the last row; None without rows."""

    def last_finite(self, name: str, field: str) -> tuple[int, float] | None:
        """Step and value of the last row in which a field is finite; None if there is none."""
        steps, values = self.column(name, field)
        finite = np.flatnonzero(np.isfinite(values))
        return (int(steps[finite[-1]]), float(values[finite[-1]])) if len(finite) else None

    def _add_quantities(self, journal: Path) -> None:
        """Add quantities that only the last row of the journal has."""
        newest = last_journal_row(journal)
        for name, fields in ({} if newest is None else newest[1]).items():
            self.quantities.setdefault(name, tuple(fields))

    def main_field(self, name: str) -> str | None:
        """The main field of a quantity; None for a quantity without numbers."""
        fields = self.quantities.get(name, ())
        return next((f for f in ("Mean", "mean", "value") if f in fields), None) or (
            fields[0] if len(fields) == 1 else None
        )


class JSONLog(LogColumns):
    """A document in JSON layout, with the rows that are still in its journal."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._document = JSONColumns(path)
        self._journal = path.with_name(path.name + ".journal")
        for name, node in self._document.tree.items():  # type: ignore[union-attr]
            if isinstance(node, dict) and isinstance(node.get("iters"), Span):
                self.quantities[name] = tuple(f for f in node if f != "iters")
        self._add_quantities(self._journal)

    @override
    def column(self, name: str, field: str) -> Column:
        node: Any = self._document.tree.get(name)  # type: ignore[union-attr]
        steps = values = np.empty(0)
        if node is not None and field in node:
            span = node[field]["real"] if isinstance(node[field], dict) else node[field]
            values = self._document.read(span)
            steps = self._steps(node["iters"], len(values))
        return _with_journal((steps, values), self._journal, name, field)

    def last(self) -> tuple[int, Quantities] | None:
        """From the journal, or else from the ends of the arrays."""
        found = last_journal_row(self._journal)
        if found is not None:
            return found
        row: Quantities = {}
        last = -1
        for name, fields in self.quantities.items():
            node: Any = self._document.tree[name]  # type: ignore[index,call-overload]
            if node["iters"].end <= node["iters"].start:
                continue
            step = int(self._document.last(node["iters"]))
            if step > last:
                last, row = step, {}
            if step == last:
                row[name] = {field: self._last(node[field]) for field in fields}
        return (last, row) if row else None

    def _steps(self, span: Span, n: int) -> np.ndarray:
        """The steps; not read if first, last and number show that they are consecutive."""
        if n > 1:
            first, last = self._document.first(span), self._document.last(span)
            if last - first == n - 1:
                return np.arange(first, last + 1)
        return self._document.read(span)

    def _last(self, node: Any) -> float:
        try:
            return self._document.last(node["real"] if isinstance(node, dict) else node)
        except (ValueError, IndexError, KeyError):
            return float("nan")


class HDF5LogColumns(LogColumns):
    """An HDF5 log, with the rows that are still in its journal."""

    def __init__(self, path: Path):
        import h5py

        super().__init__(path)
        self._journal = path.with_name(path.name + ".journal")
        try:
            with h5py.File(path, "r") as file:
                for name, group in file["data"].items():  # type: ignore[union-attr]
                    if "iter" in group:
                        self.quantities[name] = tuple(f for f in group if f != "iter")
        except (OSError, KeyError) as error:
            raise ValueError(f"{path} is no HDF5 log: {error}") from error
        self._add_quantities(self._journal)

    @override
    def column(self, name: str, field: str) -> Column:
        import h5py

        column = np.empty(0), np.empty(0)
        with h5py.File(self.path, "r") as file:
            group: Any = file["data"].get(name, {})  # type: ignore[union-attr]
            if field in group:
                if group[field].dtype.kind == "O":
                    raise ValueError(f"{name} holds text")
                column = group["iter"][:], np.real(group[field][:])
        return _with_journal(column, self._journal, name, field)

    def last(self) -> tuple[int, Quantities] | None:
        """From the journal, or else from the ends of the data sets."""
        import h5py

        found = last_journal_row(self._journal)
        if found is not None:
            return found
        row: Quantities = {}
        last = -1
        with h5py.File(self.path, "r") as file:
            for name, fields in self.quantities.items():
                group: Any = file["data"][name]  # type: ignore[index]
                if not len(group["iter"]):
                    continue
                step = int(group["iter"][-1])
                if step > last:
                    last, row = step, {}
                if step == last:
                    row[name] = {field: group[field][-1] for field in fields}
        return (last, row) if row else None


class CSVLogColumns(LogColumns):
    """A CSV file, of which a sample of the lines is read if it is long."""

    def __init__(self, path: Path):
        super().__init__(path)
        header = next(csv.reader([first_line(path).decode(errors="replace")]), [])
        if header[:1] != ["step"]:
            raise ValueError(f"{path} is no CSV log: its first column is not `step`.")
        self._places: dict[tuple[str, str], int] = {}
        for place, column in enumerate(header[1:], start=1):
            name, _, field = column.partition(".")
            field = field.removesuffix(".re") or "value"
            field = "value" if field == "re" else field
            if not field.endswith(".im") and field != "im":
                self._places[name, field] = place
                self.quantities[name] = (*self.quantities.get(name, ()), field)
        self._rows: list[list[str]] | None = None

    @override
    def column(self, name: str, field: str) -> Column:
        if self._rows is None:
            lines = sampled_lines(self.path, MOST_POINTS)
            self._rows = list(csv.reader(line.decode(errors="replace") for line in lines))
        place = self._places[name, field]
        steps, values = [], []
        for row in self._rows:
            if place < len(row) and row[place]:
                steps.append(float(row[0]))
                values.append(float(row[place]))
        return np.array(steps), np.array(values)

    @override
    def last_finite(self, name: str, field: str) -> tuple[int, float] | None:
        place = self._places[name, field]
        for block in blocks_backwards(self.path):
            for line in reversed(block.decode(errors="replace").split("\n")):
                quoted = '"' in line
                row = next(csv.reader([line])) if quoted else line.split(",", place + 1)
                cell = row[place] if place < len(row) else ""
                if cell in _NOT_FINITE:
                    continue
                try:
                    step, value = int(row[0]), float(cell)
                except ValueError:  # the header, or a damaged line
                    continue
                if math.isfinite(value):
                    return step, value
        return None

    @override
    def last(self) -> tuple[int, Quantities] | None:
        line = last_line(self.path)
        cells = [] if line is None else next(csv.reader([line.decode(errors="replace")]), [])
        try:
            step = int(cells[0])
        except (ValueError, IndexError):
            return None
        row: Quantities = {}
        for (name, field), place in self._places.items():
            if place < len(cells) and cells[place]:
                row.setdefault(name, {})[field] = cells[place]
        return step, row


UNREADABLE = (ValueError, TypeError, OSError, ImportError, LookupError, csv.Error)
"""Errors that reading a damaged log may raise, or one whose reader is not installed."""

READERS = {
    ".log": JSONLog,
    ".json": JSONLog,
    ".csv": CSVLogColumns,
    ".h5": HDF5LogColumns,
    ".hdf5": HDF5LogColumns,
}
"""Readers by suffix of the file name."""


def open_log(path: Path) -> LogColumns:
    """Open a log file.

    Raises:
        ValueError: If it is not a log, or cannot be read.
    """
    if path.suffix not in READERS:
        raise ValueError(f"{path} is no log: its name ends in none of {', '.join(READERS)}.")
    return READERS[path.suffix](path)


def looks_like_log(path: Path) -> bool:
    """Whether the suffix of a file is that of a log, and its beginning as well."""
    try:
        head = first_line(path)[:_LONGEST_HEAD].strip() if path.suffix in READERS else b""
    except OSError:
        return False
    if READERS.get(path.suffix) is JSONLog:
        return head.startswith(b"{")
    if READERS.get(path.suffix) is CSVLogColumns:
        return head.split(b",")[0] == b"step"
    return path.suffix in READERS


def _with_journal(column: Column, journal: Path, name: str, field: str) -> Column:
    steps, values = column
    last = steps[-1] if len(steps) else -1
    more = [
        (step, row[name][field])
        for step, row in journal_rows(journal)
        if step > last and field in row.get(name, {})
    ]
    if not more:
        return column
    new_steps, new_values = map(np.array, zip(*more, strict=True))
    return np.concatenate([steps, new_steps]), np.concatenate([values, new_values.astype(float)])


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Indices of about `most` values that plot alike: lowest and highest of each interval.

    Args:
        values: Shape (n,).
        most: Number of values to keep; all are kept if there are fewer.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    edges = np.linspace(0, n, most // 2 + 1).astype(int)
    low = np.where(np.isfinite(values), values, np.inf)
    high = np.where(np.isfinite(values), values, -np.inf)
    keep = {0, n - 1}
    for start, end in itertools.pairwise(edges):
        keep |= {start + int(np.argmin(low[start:end])), start + int(np.argmax(high[start:end]))}
    return np.array(sorted(keep))
