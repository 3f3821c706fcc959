"""The result of a run, in a file that programs read."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUMMARY = "summary.json"
"""The file of a run folder with its result; `exact` in it is drawn as a line."""


def read_summary(folder: str | Path) -> dict[str, Any]:
    """The summary of a run folder; empty if there is none, or if it cannot be read."""
    try:
        found = json.loads((Path(folder) / SUMMARY).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_summary(folder: str | Path, content: Mapping[str, Any]) -> None:
    """Write a summary: numbers that are not finite become null, and `finite` says so."""
    bare, finite = _without_nan({k: v for k, v in content.items() if k != "finite"})
    file = Path(folder) / SUMMARY
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(json.dumps({**bare, "finite": finite}, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, file)


def _without_nan(value: Any) -> tuple[Any, bool]:
    """The value with None for what is not finite, and whether all is."""
    if isinstance(value, Mapping):
        parts = {str(k): _without_nan(v) for k, v in value.items()}
        return {k: v for k, (v, _) in parts.items()}, all(ok for _, ok in parts.values())
    if isinstance(value, list | tuple):
        entries = [_without_nan(v) for v in value]
        return [v for v, _ in entries], all(ok for _, ok in entries)
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None, False
    return value, True
