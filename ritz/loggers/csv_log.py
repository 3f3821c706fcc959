"""A log in a CSV file."""

import contextlib
import csv
import io
import math
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from typing_extensions import override

from ritz.driver.rows import leaves, scalars
from ritz.driver.signatures import suggests_names
from ritz.folders.files import atomic_write
from ritz.loggers.base import AbstractLogger
from ritz.loggers.checksums import RowsLostError, check_rows
from ritz.loggers.files import LineFile, complete_lines, set_aside
from ritz.loggers.row_layout import RowLayout
from ritz.loggers.series import Series
from ritz.types import Row, State


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


class _Lines(NamedTuple):
    """Number, checksum and last step of the lines of a file, without its header."""

    rows: int = 0
    checksum: int = 0
    last_step: float = -math.inf

    def with_line(self, line: bytes, step: float) -> "_Lines":
        # Columns that are added later leave empty cells at the right.
        content = line.rstrip(b"\n").rstrip(b",")
        return _Lines(self.rows + 1, zlib.crc32(content, self.checksum), step)


class CSVLog(AbstractLogger):
    """Writes one line a step: `step`, then a column for each number, such as `Energy.Mean`.

    Complex numbers have the columns `NAME.re` and `NAME.im`, arrays `NAME.0`, `NAME.1` and so on.
    A quantity that appears later gets new columns at the right: the file is rewritten once with
    empty cells above. Numbers are written so that they can be read back exactly, NaN as `nan`
    and infinities as `inf`. Each line is handed to the system at once.

    Args:
        path: The file, relative to the run's working folder; `.csv` is added if it has no suffix.
            By default the stage's name.
        mode: "append" (the default) keeps the rows before the run's first step, "write" none.
        quantities: The names of those that are written; all by default.
        without: The names of those that are not.
    """

    flat_names = False

    @suggests_names
    def __init__(
        self,
        path: str | Path | None = None,
        mode: str = "append",
        quantities: Collection[str] | None = None,
        without: Collection[str] = (),
    ):
        if mode not in ("append", "write", "a", "w"):
            raise ValueError(f"mode must be 'append' or 'write', but {mode!r} was given.")
        self.path = None if path is None else Path(path)
        self.mode = mode[0]
        self.quantities = None if quantities is None else frozenset(quantities)
        self.without = frozenset(without)
        self._columns: dict[str, int] = {}
        self._file: LineFile | None = None
        self._first_open = True
        self._lines = self._lines_before = _Lines()
        self._layout: RowLayout | None = None
        self._empty = b""
        """Cells at the right that rows of this layout leave empty."""

    @override
    def file(self, working_dir: Path, stage_name: str) -> Path:
        path = working_dir / (self.path or stage_name)
        return path if path.suffix else path.with_suffix(".csv")

    @contextlib.contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Drop lines at or beyond `initial_step`, and a last one that was cut off."""
        path = self.file(working_dir, stage_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[bytes] = []
        header = b"step"
        if self.resuming or not (self._first_open and self.mode == "w"):
            header, *kept = complete_lines(path) or [header]
            kept = [line for line in kept if _step(line) < initial_step]
        self._first_open = False
        names = _names(header) if kept else ["step"]
        self._columns = {name: place for place, name in enumerate(names)}
        self._lines = self._lines_before = _sum(kept)
        self._layout = None
        _write(path, names, kept)
        self._file = LineFile(path)
        try:
            yield
        finally:
            self._file.close()
            self._file = None

    @override
    def write(self, step: int, stats: Row) -> None:
        assert self._file is not None, "write outside of open"
        if self.quantities is not None:
            stats = {name: stats[name] for name in stats if name in self.quantities}
        if self.without:
            stats = {name: stats[name] for name in stats if name not in self.without}
        line = self._plain_line(step, stats)
        if line is None:
            line = self._any_line(step, stats)
            self._expect(stats)
        self._lines_before, self._lines = self._lines, self._lines.with_line(line, step)
        self._file.append(line, self.hold)

    def _plain_line(self, step: int, stats: Row) -> bytes | None:
        """The line of a row that looks like the last one and has a number in each column."""
        numbers = None if self._layout is None else self._layout.numbers(stats)
        if numbers is None:
            return None
        cells = orjson.dumps(list(map(float, numbers)))[1:-1]
        if b"null" in cells:  # NaN or an infinity
            return None
        return b"%d,%b%b\n" % (step, cells, self._empty)

    def _expect(self, stats: Row) -> None:
        """Let rows like this one be written by `_plain_line`, if their columns are in order."""
        layout = RowLayout.of(stats)
        self._layout = None
        if layout is None:
            return
        names = [name for name, _ in scalars(stats, ".")]
        columns = list(self._columns)[1:]
        if names == columns[: len(names)]:
            self._layout, self._empty = layout, b"," * (len(columns) - len(names))

    def _any_line(self, step: int, stats: Row) -> bytes:
        """The line of any row; new columns are added to the file."""
        cells = {"step": str(step)}
        cells.update((name, _text(number)) for name, number in scalars(stats, "."))
        # One line a step: line breaks within a string become spaces.
        cells.update(
            (".".join(p), " ".join(v.splitlines())) for p, v in leaves(stats) if isinstance(v, str)
        )
        new = [name for name in cells if name not in self._columns]
        if new:
            self._add_columns(new)
        row = [""] * len(self._columns)
        for name, cell in cells.items():
            row[self._columns[name]] = cell
        return _line(row)

    @override
    def sync(self) -> None:
        if self._file is not None:
            self._file.sync()

    def _add_columns(self, names: list[str]) -> None:
        assert self._file is not None
        path = self._file.path
        self._file.write_held()
        self._columns.update({n: len(self._columns) + i for i, n in enumerate(names)})
        rows = csv.reader(line.decode() for line in complete_lines(path)[1:])
        padded = [_line(row + [""] * (len(self._columns) - len(row))) for row in rows]
        atomic_write(path, b"".join([_line(list(self._columns)), *padded]))
        self._file = LineFile(path)

    @override
    def account(self, step: int) -> State | None:
        if self._file is None:
            return None
        lines = self._lines if self._lines.last_step < step else self._lines_before
        return {
            "file": self._file.path.name,
            "rows": lines.rows,
            "checksum": lines.checksum,
            "columns": list(self._columns),
        }

    @override
    def recover(self, working_dir: Path, stage_name: str, step: int, account: State) -> None:
        path = self.file(working_dir, stage_name)
        header, *lines = complete_lines(path) or [b"step"]
        kept = lines[: account["rows"]]
        check_rows(path, _sum(kept)._asdict(), account)
        names, columns = _names(header), account["columns"]
        if kept and names[: len(columns)] != columns:
            raise RowsLostError(f"{path} was changed: its header is another one")
        if len(lines) > len(kept):
            _write(path, names, kept)

    @override
    def series(self, working_dir: Path, stage_name: str, step: int) -> Mapping[str, Series]:
        header, *lines = complete_lines(self.file(working_dir, stage_name)) or [b"step"]
        return read_columns(_names(header), (line.decode() for line in lines))

    @override
    def rebuild(
        self,
        working_dir: Path,
        stage_name: str,
        account: State,
        series: Mapping[str, Series],
    ) -> None:
        path = self.file(working_dir, stage_name)
        columns = account["columns"]
        missing = [name for name in columns[1:] if name not in series]
        if missing:
            raise RowsLostError(f"{path} cannot be rebuilt without {', '.join(missing)}")
        for nan in ("nan", ""):  # in a log without empty cells both are NaN
            lines = _lines_of([series[name] for name in columns[1:]], nan)
            found = _sum(lines)
            if found.checksum == account["checksum"]:
                break
        check_rows(path, found._asdict(), account)
        set_aside(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, columns, lines)

    @override
    def set_aside(self, working_dir: Path, stage_name: str) -> None:
        set_aside(self.file(working_dir, stage_name))


def read_columns(names: list[str], lines: Iterable[str]) -> dict[str, Series]:
    """The columns of a CSV file as numbers, or strings if one of them is none.

    Args:
        names: The header; the first is that of the steps.
        lines: The other lines.
    """
    rows = [row for row in csv.reader(lines) if row]
    found = {}
    for place, name in enumerate(names[1:], start=1):
        cells = [(int(row[0]), row[place]) for row in rows if place < len(row) and row[place]]
        texts = [cell for _, cell in cells]
        try:
            values = np.array(list(map(float, texts)))
        except ValueError:
            values = np.array(texts, object)
        found[name] = Series(np.array([step for step, _ in cells], int), values)
    return found


def _lines_of(columns: list[Series], nan: str) -> list[bytes]:
    steps = np.unique(np.concatenate([c.steps for c in columns])) if columns else np.array([], int)
    filled = [[str(step) for step in steps.tolist()]]
    for column in columns:
        cells = [""] * len(steps)
        for place, value in zip(np.searchsorted(steps, column.steps), column.values, strict=True):
            cells[place] = _cell(value, nan)
        filled.append(cells)
    return [_line(list(row))[:-1] for row in zip(*filled, strict=True)]


def _cell(value: float | str | None, nan: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    number = float(value)
    return nan if math.isnan(number) else _text(number)


def _text(number: float) -> str:
    """A number so that it can be read back exactly."""
    return orjson.dumps(number).decode() if math.isfinite(number) else repr(number)


def _write(path: Path, names: list[str], lines: list[bytes]) -> None:
    atomic_write(path, b"".join([_line(names), *(line + b"\n" for line in lines)]))


def _sum(lines: Iterable[bytes]) -> _Lines:
    found = _Lines()
    for line in lines:
        found = found.with_line(line, _step(line))
    return found


def _names(header: bytes) -> list[str]:
    return next(csv.reader([header.decode(errors="replace")]), [])


def _step(line: bytes) -> float:
    """The step of a line; infinite if it is damaged, so that it is dropped."""
    try:
        return float(line.partition(b",")[0])
    except ValueError:
        return math.inf
