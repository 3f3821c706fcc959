"""Runs the benchmarks of speed, all or those named, and writes docs/performance.md.

Usage: python -m benchmarks [NAME ... | page]

Sections of other benchmarks stay as they are; `page` only writes the page, with the results of
those that were run apart.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.data import has_data

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
NAMES = (
    "loop",
    "lattice",
    "ablation",
    "time_to_error",
    "deep",
    "lattice_networks",
    "logging_rows",
    "checkpoints",
    "molecule",
    "laplacian",
    "relax",
    "relax_scaling",
    "potentials",
    "potential_memory",
    "potential_accuracy",
)

LONG = (
    "lattice_proof",
    "lattice_robustness",
    "lattice_momentum",
    "quench",
    "molecule_accuracy",
    "update_rules",
    "update_rules_potentials",
    "molecule_geometries",
    "molecule_smoke",
    "gpu",
)
"""Long benchmarks, run one by one or by `benchmarks.accuracy`; the page has their results too."""

NEED_DATA = ("potentials", "potential_memory", "potential_accuracy")

INTRODUCTION = """\
# Performance

Written by `make bench`: each benchmark runs Ritz and its peer in one process, in turns, on the
same machine, and tells the compile time apart. The numbers depend on the machine; the ratios do so
much less.

**Where Ritz is not faster.** A loop in which some callback is live at every step waits for the
device at every step, because hooks get numbers and not promises of them; NetKet's bare loop, with
nothing attached, does not wait, and takes a fraction of that time where a step computes nothing.
With the same callbacks attached to both, Ritz is faster there too. The first step of a block
program compiles for about as long as NetKet's functions do together. Models with convolutions on
CPUs gain from what is compiled, but not from blocks: XLA differentiates convolutions many times
slower inside of loops, so Ritz takes their steps one by one.
"""


def main() -> None:
    only_page = sys.argv[1:] == ["page"]
    names = () if only_page else sys.argv[1:] or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}.")
    if not sys.argv[1:] and not has_data():
        names = [name for name in names if name not in NEED_DATA]
        print(f"{', '.join(NEED_DATA)} are left out: set RITZ_DATA, see benchmarks/data.py.")
    for name in names:  # each in a process of its own: thread pools and caches are not shared
        code = (
            "from benchmarks.report import report; "
            f"from benchmarks.{name} import measure; report(measure())"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
    from benchmarks.report import page

    PAGE.write_text(page(INTRODUCTION, (*NAMES, *LONG), PAGE.read_text()))


if __name__ == "__main__":
    main()
