"""The table of seconds spent in hooks, as `HookTiming` leaves it in a run folder."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from ritz.folders.files import atomic_write

FILE = "hook_timing.csv"
COLUMNS = ("callback", "hook", "calls", "seconds", "share")


def write_timing(folder: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write the table; one that was there is replaced.

    Args:
        folder: The run folder.
        rows: Callback, hook, calls, seconds and share of the run.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    atomic_write(folder / FILE, text.getvalue().encode())


def read_timing(folder: Path) -> list[dict[str, str]]:
    """The rows of the table by column; empty if there is none, or it is damaged."""
    try:
        with open(folder / FILE, newline="") as file:
            header, *rows = csv.reader(file)
            found: list[dict[str, str]] = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
            numbers = [float(row[name]) for row in found for name in ("seconds", "share")]
    except (OSError, ValueError, csv.Error):
        return []
    return found if tuple(header) == COLUMNS and all(map(math.isfinite, numbers)) else []
