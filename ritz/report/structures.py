"""The table of relaxed structures in a run folder."""

import csv
from pathlib import Path
from typing import NamedTuple

from ritz.sweeps.results import settings_of

_FILE = "relaxed.csv"
"""Name of the table unless the setting `table` has another one."""
_STATUS = "status"
_MOST = 200


class Structures(NamedTuple):
    """The table of a relaxation, those that are not converged first."""

    rows: list[dict[str, str]]
    """By column; those that are not converged first, 200 at most."""
    n_structures: int
    """Number of all of them."""


def read_structures(folder: Path) -> Structures | None:
    """The table of `ritz relax`; None if there is none, or it is damaged or empty."""
    for file in _places(folder):
        try:
            with open(file, newline="") as lines:
                header, *rows = csv.reader(lines)
        except (OSError, ValueError, csv.Error):
            continue
        if rows and _STATUS in header:
            found = [dict(zip(header, row, strict=False)) for row in rows if row]
            found.sort(key=lambda row: row.get(_STATUS) == "converged")
            return Structures(found[:_MOST], len(found))
    return None


def _places(folder: Path) -> list[Path]:
    """Where the table may be: as the configuration says, or in a folder that was moved."""
    try:
        name = settings_of(folder).get("table")
    except ValueError:
        name = None
    path = Path(name) if isinstance(name, str) and name else Path(_FILE)
    return [folder / path.name] if len(path.parts) == 1 else [path, folder / path.name]
