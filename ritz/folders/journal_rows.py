"""Rows of a journal that its document still lacks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import orjson

from ritz.folders.tail import complete_lines, last_line
from ritz.types import JSON

Quantities: TypeAlias = dict[str, dict[str, JSON]]
"""A row as a log holds it: name -> field, such as "Mean" -> number, string or list."""

FIELDS = "__fields__"
SPECIAL = "__special__"
"""Marks in a journal, chosen to differ from logged names."""


def last_journal_row(path: Path) -> tuple[int, Quantities] | None:
    """Step and quantities of the last row, each with its fields; None if there is none."""
    line = last_line(path)
    rows = [] if line is None else list(_rows(line))
    return rows[-1] if rows else None


def journal_rows(path: Path) -> Iterator[tuple[int, Quantities]]:
    """Step and quantities of all rows."""
    for line in complete_lines(path):
        yield from _rows(line)


def _rows(line: bytes) -> Iterator[tuple[int, Quantities]]:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if "columns" in entry:
        for place, step in enumerate(entry["steps"]):
            yield (
                int(step),
                {
                    path[0]: {field: column[place] for field, column in fields.items()}
                    for path, fields in entry["columns"]
                    if len(path) == 1
                },
            )
        return
    yield (
        int(entry["step"]),
        {
            name: {field: _real(value) for field, value in quantity[FIELDS].items()}
            for name, quantity in entry["row"].items()
            if isinstance(quantity, dict) and FIELDS in quantity
        },
    )


def _real(value: JSON) -> JSON:
    """The real part of a value in a journal."""
    while isinstance(value, dict):
        value = value[SPECIAL] if SPECIAL in value else value["real"]
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value
