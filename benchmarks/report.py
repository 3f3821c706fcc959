"""Tables on the terminal, as JSON, and in docs/performance.md, with machine and versions."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "ritz",
    "jax",
    "netket",
    "folx",
    "optax",
    "numpy",
    "orjson",
    "orbax-checkpoint",
    "threadpoolctl",
    "ase",
    "vesin",
    "torch-sim-atomistic",
    "torch",
)


class Table(NamedTuple):
    """The result of one benchmark."""

    name: str
    """The file's name."""
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    remarks: str = ""
    """How it was measured."""
    findings: Mapping[str, Any] = {}
    """What the table shows, with targets."""
    picture: str = ""
    """A picture in docs/assets that belongs to it."""
    details: Mapping[str, Any] = {}
    """Further figures, for the file alone."""


def environment() -> dict[str, Any]:
    """The machine and the versions behind a measurement."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "versions": versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def report(table: Table, file: Path | None = None) -> None:
    """Print a table, and save it as `benchmarks/results/NAME.json`, or as `file`."""
    cells = [[str(h) for h in table.header]] + [[_text(c) for c in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.header))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    lines += [f"{what}: {_text(value)}" for what, value in table.findings.items()]
    sys.stdout.write(f"\n{table.title}\n" + "\n".join(lines) + "\n")
    file = file or RESULTS / f"{table.name}.json"
    file.parent.mkdir(exist_ok=True)
    content = {
        "environment": environment(),
        **table._asdict(),
        "rows": [dict(zip(table.header, row, strict=True)) for row in table.rows],
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def page(introduction: str, names: Iterable[str], old: str = "") -> str:
    """A page in Markdown from the saved results of benchmarks.

    Args:
        introduction: What comes first.
        names: The benchmarks, in the order of their sections.
        old: The page so far, of which sections without new results are kept.
    """
    kept = dict(re.findall(r"^<!-- (\w+) -->\n(.*?)(?=^<!-- |\Z)", old, re.DOTALL | re.MULTILINE))
    parts = [introduction]
    for name in names:
        path = RESULTS / f"{name}.json"
        section = kept.get(name, "").strip()
        if path.exists():
            section = _section(json.loads(path.read_text()))
        if section:
            parts.append(f"<!-- {name} -->\n{section}")
    return "\n\n".join(parts) + "\n"


def _section(content: Mapping[str, Any]) -> str:
    header = content["header"]
    rows = [[_text(row[h]) for h in header] for row in content["rows"]]
    where, picture = content["environment"], content.get("picture", "")
    versions = ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    lines = [
        f"## {content['title']}",
        "",
        content["remarks"],
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *(f"- {what}: **{_text(value)}**" for what, value in content["findings"].items()),
        *([""] if content["findings"] else []),
        *([f"![{content['title']}](assets/{picture})", ""] if picture else []),
        f"{where['cpu']}, {where['cores']} cores, Python {where['python']}, {versions}; "
        f"{where['date']}.",
    ]
    return "\n".join(lines)
