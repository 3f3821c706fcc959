"""A journal: a file to which each row is written at once."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

from ritz.loggers.files import LineFile, complete_lines
from ritz.loggers.plain_rows import Gathered
from ritz.loggers.tree import Fields, row_from_json, row_to_json
from ritz.types import Row

_logger = logging.getLogger(__name__)
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


class Journal:
    """An append-only file of rows: a line holds one row, or several of the same names.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = LineFile(path)

    def write(self, line: bytes, hold: bool) -> None:
        """Append a row, see `row_line`; with `hold`, together with the next one."""
        self._file.append(line, hold)

    def write_all(self, gathered: Gathered) -> None:
        """Append several rows, together with the next one."""
        columns = [c for fields in gathered.columns.values() for c in fields.values()]
        if all(np.all(np.isfinite(column)) for column in columns):
            entry = {"steps": gathered.steps, "columns": list(gathered.columns.items())}
            self._file.append(orjson.dumps(entry, option=_OPTIONS), hold=True)
            return
        for step, row in rows_of(gathered):  # JSON has no NaN
            self._file.append(_line(step, row), hold=True)

    def empty(self) -> None:
        """Remove all rows from the journal."""
        self._file.empty()

    def sync(self) -> None:
        """Flush all rows to disk."""
        self._file.sync()

    def close(self) -> None:
        """Write rows that were held back, and close the file."""
        self._file.close()


def _line(step: int, row: Row) -> bytes:
    return orjson.dumps({"step": step, "row": row_to_json(row)}, option=_OPTIONS)


def row_line(step: int, row: Row) -> bytes:
    """The line of a row.

    Raises:
        TypeError: If a value is no number, text or array, with its key.
    """
    try:
        return _line(step, row)
    except TypeError as error:
        for name, value in row.items():
            try:
                _line(0, {name: value})
            except TypeError:
                raise TypeError(
                    f"log_data[{name!r}] is {value!r:.60}, which logs in JSON and HDF5 cannot hold "
                    f"({error}); log numbers, text, arrays, or dicts and lists of them."
                ) from error
        raise


def rows_of(gathered: Gathered) -> Iterator[tuple[int, Row]]:
    """Step and row, one by one."""
    lists = {
        path: {field: column.tolist() for field, column in fields.items()}
        for path, fields in gathered.columns.items()
    }
    for place, step in enumerate(gathered.steps.tolist()):
        row: Row = {}
        for path, fields in lists.items():
            inner = row
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            inner[path[-1]] = Fields({field: values[place] for field, values in fields.items()})
        yield step, row


def read_journal(path: Path) -> Iterator[tuple[int, Row]]:
    """Step and row of all complete lines; a damaged one is left out with a warning."""
    for line in complete_lines(path):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            _logger.warning("%s: left out a damaged line", path)
            continue
        if "columns" in entry:
            columns = {
                tuple(path): {field: np.array(values) for field, values in fields.items()}
                for path, fields in entry["columns"]
            }
            yield from rows_of(Gathered(np.array(entry["steps"]), columns))
        else:
            yield entry["step"], row_from_json(entry["row"])
