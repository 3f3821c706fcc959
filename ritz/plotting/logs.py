"""Logs of runs, read whole, and where they are."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ritz.folders.columns import READERS, looks_like_log
from ritz.folders.config import CONFIG
from ritz.folders.summary import read_summary
from ritz.folders.view import ANY_RUN

if TYPE_CHECKING:
    from ritz.loggers.history import HistoryDict

_SUFFIXES = (".log", ".h5", ".csv")
_EVALUATION = "evaluate"


class SeveralRunsError(ValueError):
    """A folder that is not that of a run holds logs of several."""


def find_log(path: Path, names: Sequence[str] = ANY_RUN.logs) -> Path:
    """The log behind a path: the file itself, a file with a known suffix added, or in a folder.

    Args:
        path: A file or folder.
        names: Names of logs, without suffix, that are preferred in a folder; the usual ones follow.

    Raises:
        ValueError: If there is no log.
        SeveralRunsError: If a folder that is not that of a run holds logs of several.
    """
    return find_logs(path, names)[0]


def find_logs(path: Path, names: Sequence[str] = ANY_RUN.logs) -> list[Path]:
    """The logs behind a path, see `find_log`, the preferred one first.

    Files of a folder with other names count if they begin as logs do, which other tables and files
    of messages do not; those of an evaluation come last.

    Args:
        path: A file or folder.
        names: Names of logs, without suffix, that are preferred in a folder; the usual ones follow.

    Raises:
        ValueError: If there is none.
        SeveralRunsError: If a folder that is not that of a run holds logs of several.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        preferred = dict.fromkeys((*names, *ANY_RUN.logs))
        files = [f"{name}{suffix}" for name in preferred for suffix in _SUFFIXES]
        found = [path / file for file in files if (path / file).is_file()]
        unlisted = {file for file in path.iterdir() if file.suffix in _SUFFIXES} - set(found)
        more = sorted(filter(looks_like_log, unlisted), key=lambda f: (f.stem == _EVALUATION, f))
        stems = {file.stem for file in more} - {_EVALUATION}
        if not found and len(stems) > 1 and not (path / CONFIG).is_file():
            raise SeveralRunsError(
                f"{path} is no run folder, and holds logs of several runs: "
                f"{', '.join(file.name for file in more)}; name those that are wanted."
            )
        found += more
        if found:
            return found
        raise ValueError(f"no log in the folder {path}; one of {', '.join(files)} is looked for.")
    for suffix in sorted(READERS):
        if path.with_name(path.name + suffix).is_file():
            return [path.with_name(path.name + suffix)]
    raise ValueError(f"there is no run {path}.")


def read_log(path: str | Path) -> "HistoryDict":
    """The histories of a log file or run folder, with rows that are still in its journal.

    Raises:
        ValueError: If there is no log, or it cannot be read.
    """
    from ritz.loggers.hdf5_log import read_hdf5
    from ritz.loggers.journaled import with_journal
    from ritz.loggers.runtime_log import RuntimeLog

    file = find_log(Path(path))
    if file.suffix == ".csv":
        return _read_csv(file)
    if file.suffix in (".h5", ".hdf5"):
        log = RuntimeLog.of(read_hdf5(file))
    elif file.suffix in (".log", ".json"):
        log = RuntimeLog.deserialize(file)
    else:
        raise ValueError(f"{file} is no log: its name ends in none of {', '.join(READERS)}.")
    return with_journal(log, file.with_name(file.name + ".journal")).data


def _read_csv(file: Path) -> "HistoryDict":
    """Columns `A.x` and `A.y` become the fields of A."""
    from ritz.loggers.files import complete_lines
    from ritz.loggers.history import History, HistoryDict

    header, *rows = list(csv.reader(line.decode() for line in complete_lines(file))) or [[]]
    if header[:1] != ["step"]:
        raise ValueError(f"{file} is no CSV log: its first column is not `step`.")
    columns: dict[str, dict[str, int]] = {}
    for place, column in enumerate(header[1:], start=1):
        name, _, field = column.partition(".")
        columns.setdefault(name, {})[field or "value"] = place
    data = HistoryDict()
    for name, places in columns.items():
        for row in rows:
            cells = {field: row[at] for field, at in places.items() if at < len(row) and row[at]}
            if cells:
                data.setdefault(name, History()).append(int(row[0]), _numbers(cells))
    return data


def _numbers(cells: dict[str, str]) -> dict[str, float | str]:
    """Cells as numbers; cells with text stay strings."""
    try:
        return {field: float(cell) for field, cell in cells.items()}
    except ValueError:
        return dict(cells)


def exact_value(path: str | Path) -> float | None:
    """The exact energy in the summary of a run folder; None if there is none."""
    path = Path(path)
    try:
        return float(read_summary(path if path.is_dir() else path.parent)["exact"])
    except (ValueError, KeyError, TypeError):
        return None
