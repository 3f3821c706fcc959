"""What `ritz relax` writes and prints."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ritz.cli.relax.structures import TableRow
from ritz.folders.files import atomic_write

_COLUMNS = ("file", "frame", "formula", "atoms", "energy", "fmax", "status", "steps", "reason")
_MOST = 50
"""Rows that are printed; the table has the others too."""


def counts(rows: Sequence[TableRow]) -> dict[str, int]:
    """How many structures have which status, in the order of the first ones."""
    return dict(Counter(row.status for row in rows))


def write(rows: Sequence[TableRow], output: Path, table: Path) -> None:
    """Write the structures, and the table.

    Args:
        rows: All rows.
        output: The file of the structures, in a format of ASE.
        table: The CSV file.
    """
    import ase.io

    relaxed = []
    for row in rows:
        if row.relaxed is not None:
            row.relaxed.info |= {"file": row.file, "frame": row.frame, "status": row.status}
            relaxed.append(row.relaxed)
    ase.io.write(output, relaxed)
    text = io.StringIO()
    lines: Any = csv.writer(text, lineterminator="\n")
    lines.writerow(_COLUMNS)
    lines.writerows([getattr(row, column) for column in _COLUMNS] for row in rows)
    atomic_write(table, text.getvalue().encode())


def as_text(rows: Sequence[TableRow]) -> list[str]:
    """The lines of the table for people; only the first ones if it is long."""
    width = max(len(row.name) for row in rows[:_MOST])
    lines = [
        f"{'structure':<{width}}  {'atoms':>6}  {'energy/eV':>14}  {'fmax':>9}  "
        f"{'steps':>6}  status"
    ]
    for row in rows[:_MOST]:
        why = f": {row.reason}" if row.reason else ""
        if row.relaxed is None:
            lines.append(f"{row.name:<{width}}  {row.status}{why}")
        else:
            lines.append(
                f"{row.name:<{width}}  {row.atoms:>6}  {row.energy:>14.6f}  {row.fmax:>9.2e}  "
                f"{row.steps:>6}  {row.status}{why}"
            )
    if len(rows) > _MOST:
        lines.append(f"... and {len(rows) - _MOST} more, in the table")
    return lines
