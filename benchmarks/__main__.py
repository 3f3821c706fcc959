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
    "linear_accuracy",
    "potential_speed",
    "gpu",
)
"""Long benchmarks, run one by one or by `benchmarks.accuracy`; the page has their results too."""

NEED_DATA = (
    "potentials",
    "potential_memory",
    "potential_accuracy",
    "linear_accuracy",
    "potential_speed",
)

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

## On a GPU of your own

`python -m benchmarks.gpu` in a checkout takes at most eight minutes on any CUDA device:
steps that compute nothing, the Ising chain of 20 and 100 spins, the Heisenberg model on 10 x 10
sites with a convolutional network, LiH and N2 with FermiNet's network, KFAC and SPRING, TiO2
potentials (one and a committee), and 1,024 structures at once. What is not installed, fails or is
out of time is told, and the others go on. `--seconds` sets the time for all, `--only NAME ...`
chooses cases, `--small` takes sizes for a CPU, `--out FILE` names the JSON, which has all figures,
the device, its platform, the versions, and the tracebacks of what failed. TiO2 is that of
`RITZ_DATA` (see benchmarks/data.py), or else displaced rutile of the same size with a pair
potential's energies.

How to read it, line by line:

- *Device* is the floor: the time of a step in which the device runs any kernel. *Wall* is that of a
  step in blocks, hooks and a log included.
- *Wall/device* near 1: only faster kernels help; the JSON has the five longest. Well above 1: the
  device waits, for launches of kernels (many *kernels* of a few microseconds each: give a step more
  samples, walkers or structures), or for the host between blocks (*nothing, in blocks* is what the
  loop itself takes).
- *Nothing, live* is what a callback costs that looks at every step.
- *Compile* is paid once for each program and shape; JAX's compilation cache keeps programs from run
  to run.
- *GiB* is the peak of the case's own process; with it, the walkers or structures that fit can be
  estimated.

On CPUs the profiler itself slows short operations, so that *device* can exceed *wall*; the JSON has
the wall time under the profiler as well.
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
