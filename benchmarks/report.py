"""Tables on the terminal, and the same numbers as JSON with machine and versions."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("ritz", "jax", "netket", "numpy", "orjson")


def environment() -> dict[str, Any]:
    """The machine and the versions behind a measurement."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def report(name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table, and save it as `benchmarks/results/NAME.json`."""
    cells = [[str(h) for h in header]] + [[_text(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    sys.stdout.write(f"\n{title}\n" + "\n".join(lines) + "\n")
    RESULTS.mkdir(exist_ok=True)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    content = {"title": title, "environment": environment(), "rows": table}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def _text(cell: Any) -> str:
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
