"""List what installed packages add to Ritz: names for configurations and the command line.

Nothing of a package is imported for the list, which tells of plug-ins that a name of Ritz hides.
--check imports what it checks, each in a process of its own.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from ritz.cli.plugin_contracts import is_of_ritz
from ritz.plugins import KINDS, Plugin, chosen, plugins

_PATIENCE = 600
"""Seconds that the check of a plug-in may take."""
_HEADER = ("kind", "name", "package", "version", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz plugins` takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="only plug-ins of these names")
    parser.add_argument("--kind", default=None, help=f"only plug-ins of a kind: {', '.join(KINDS)}")
    parser.add_argument(
        "--check", action="store_true", help="run the conformance check of each that is listed"
    )


def run(options: argparse.Namespace) -> int:
    """Print the table.

    Returns:
        The exit status: 1 if a check has failed.

    Raises:
        ValueError: If no plug-in has one of the names.
    """
    found = plugins(options.kind)
    for name in options.names:
        if name not in {plugin.name for plugin in found}:
            chosen(found, name)  # which says what there is
    found = [plugin for plugin in found if not options.names or plugin.name in options.names]
    if not found:
        kind = "plug-ins" if options.kind is None else f"plug-ins of the kind {options.kind}"
        sys.stdout.write(f"no {kind} are installed; `ritz new plugin NAME` begins a package.\n")
        return 0
    faults = {plugin: _fault(plugin) for plugin in found} if options.check else {}
    rows = []
    for plugin in found:
        told = "not run; --check runs it"
        if options.check:
            told = f"fails: {faults[plugin]}" if faults[plugin] else "passes"
        if is_of_ritz(plugin.kind, plugin.name):
            told += f"; hidden, since Ritz has this name{_way_round(plugin)}"
        rows.append((plugin.kind, plugin.name, plugin.package, plugin.version, told))
    sys.stdout.write(_table([_HEADER, *rows]))
    return int(any(faults.values()))


def _way_round(plugin: Plugin) -> str:
    """How a hidden plug-in is named all the same, as the end of a sentence."""
    return "" if plugin.kind == "domains" else f": give {plugin.path}"


def _fault(plugin: Plugin) -> str:
    """What the check of a plug-in says in a process of its own; empty if it passes."""
    line = [sys.executable, "-m", "ritz.cli.plugin_check", plugin.kind, plugin.name, plugin.path]
    try:
        ended = subprocess.run(line, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return f"it takes longer than {_PATIENCE} s"
    if ended.returncode == 0:
        return ""
    last = [line for line in ended.stderr.splitlines() if line.strip()]
    return last[-1].strip() if last else f"its process ended with status {ended.returncode}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal widths; the last one ends where its texts do."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join(lines) + "\n"
