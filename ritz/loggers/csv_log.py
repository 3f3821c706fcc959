"""A log in a CSV file."""

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ritz.driver.rows import leaves, scalars
from ritz.loggers.base import AbstractLogger
from ritz.loggers.files import LineFile, atomic_write, complete_lines


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


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
    """

    def __init__(self, path: str | Path | None = None, mode: str = "append"):
        if mode not in ("append", "write", "a", "w"):
            raise ValueError(f"mode must be 'append' or 'write', but {mode!r} was given.")
        self.path = None if path is None else Path(path)
        self.mode = mode[0]
        self._columns: dict[str, int] = {}
        self._file: LineFile | None = None
        self._first_open = True

    @contextlib.contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Drop lines at or beyond `initial_step`, and a last one that was cut off."""
        path = working_dir / (self.path or stage_name)
        path = path if path.suffix else path.with_suffix(".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[bytes] = []
        if self.resuming or not (self._first_open and self.mode == "w"):
            kept = [line for line in complete_lines(path)[1:] if _step(line) < initial_step]
        self._first_open = False
        header = complete_lines(path)[:1] if kept else [b"step"]
        names = next(csv.reader([header[0].decode()]))
        self._columns = {name: place for place, name in enumerate(names)}
        atomic_write(path, b"".join(line + b"\n" for line in [*header, *kept]))
        self._file = LineFile(path)
        try:
            yield
        finally:
            self._file.close()
            self._file = None

    def write(self, step: int, stats: Mapping[str, Any]) -> None:
        """Write one line, after new columns if there are any."""
        assert self._file is not None, "write outside of open"
        cells = {"step": str(step)}
        cells.update((name, repr(number)) for name, number in scalars(stats, "."))
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
        self._file.append(_line(row), self.hold)

    def sync(self) -> None:
        """Hand the lines to the disk."""
        if self._file is not None:
            self._file.sync()

    def _add_columns(self, names: list[str]) -> None:
        assert self._file is not None
        path = self._file.path
        self._file.close()  # writes the lines that were held
        self._columns.update({n: len(self._columns) + i for i, n in enumerate(names)})
        rows = csv.reader(line.decode() for line in complete_lines(path)[1:])
        padded = [_line(row + [""] * (len(self._columns) - len(row))) for row in rows]
        atomic_write(path, b"".join([_line(list(self._columns)), *padded]))
        self._file = LineFile(path)


def _step(line: bytes) -> float:
    return float(line.partition(b",")[0])
