"""The table of seconds spent in hooks, as `HookTiming` leaves it in a run folder."""

import csv
import io
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
    """The rows of the table by column; empty if there is none."""
    try:
        with open(folder / FILE, newline="") as file:
            return [row for row in csv.DictReader(file) if None not in row.values()]
    except OSError:
        return []
