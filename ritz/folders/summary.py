"""The results of a run in a file for programs to read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ritz.folders.files import atomic_write
from ritz.types import JSON

Summary: TypeAlias = dict[str, JSON]
"""The results of a run, by name."""

SUMMARY = "summary.json"
"""File of a run folder with its results; plots show its `exact` as a line."""


def read_summary(folder: str | Path) -> Summary:
    """The summary of a run folder; empty if there is none, or if it cannot be read."""
    try:
        found = json.loads((Path(folder) / SUMMARY).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_summary(folder: str | Path, content: Mapping[str, object]) -> None:
    """Write a summary: numbers that are not finite become null, and `finite` says so."""
    bare, finite = without_nan({k: v for k, v in content.items() if k != "finite"})
    text = json.dumps({**bare, "finite": finite}, indent=2, allow_nan=False)
    atomic_write(Path(folder) / SUMMARY, text.encode() + b"\n")


def add_result(
    folder: str | Path, command: str, result: Mapping[str, object], **more: object
) -> None:
    """Put the result of a command into the summary of a run folder.

    Args:
        folder: The run folder.
        command: Name of the command, under which the result is stored besides the top level.
        result: Its result.
        **more: Further entries at the top level.
    """
    others, kept = _besides(command, read_summary(folder))
    top = {"result_of": command, **result, **kept, **more}
    write_summary(folder, {**top, **others, command: dict(result)})


def drop_result(folder: str | Path, command: str) -> None:
    """Take the result of a command out of the summary, whose top level is that of another then.

    Args:
        folder: The run folder.
        command: Name of the command.
    """
    before = read_summary(folder)
    if command not in before:
        return
    others, kept = _besides(command, before)
    last = {"result_of": list(others)[-1], **list(others.values())[-1]} if others else {}
    write_summary(folder, {**last, **kept, **others})


def _besides(command: str, summary: Summary) -> tuple[dict[str, dict[str, JSON]], Summary]:
    """The results of other commands, and the entries at the top level that belong to none."""
    others = {k: v for k, v in summary.items() if isinstance(v, dict) and k != command}
    return others, {"exact": summary["exact"]} if "exact" in summary else {}


def without_nan(value: Any) -> tuple[JSON, bool]:
    """A value for JSON, with None for numbers that are not finite, and whether all are finite."""
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy and JAX
        value = value.tolist()
    if isinstance(value, Mapping):
        parts = {str(k): without_nan(v) for k, v in value.items()}
        return {k: v for k, (v, _) in parts.items()}, all(ok for _, ok in parts.values())
    if isinstance(value, list | tuple):
        entries = [without_nan(v) for v in value]
        return [v for v, _ in entries], all(ok for _, ok in entries)
    if isinstance(value, float) and not math.isfinite(value):
        return None, False
    return value, True
