"""LiH and N2 at FermiNet's default size with KFAC and SPRING: steps a second, and energies.

Usage: python -m benchmarks.molecule_gpu [--seconds S] [--walkers W] [--small] [SYSTEM RULE ...]

Made for one GPU: 4,096 walkers, 4 layers of 256/32, 16 determinants, 10 moves a step, single
precision. Each run trains for S seconds (60), compilation apart; energies are means over the last
fifth of its steps. `--small` takes the preset "small", to try the script on a CPU.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

from benchmarks.molecule_stages import blocked, pretrained
from benchmarks.report import Table, report
from benchmarks.update_rules import MOLECULES
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Molecule
from ritz.molecule.presets import preset

RUNS = (("LiH", "KFAC"), ("LiH", "SPRING"), ("N2", "KFAC"), ("N2", "SPRING"))
N_PRETRAINED = 1000


def one(system: str, rule: str, seconds: float, n_walkers: int, size: str) -> list[Any]:
    """A row of the table."""
    molecule = Molecule(system)
    network = preset(size, molecule)
    first = pretrained(molecule, network, N_PRETRAINED, n_walkers=n_walkers)
    optimizer, update = MOLECULES[rule]
    driver = VMC(molecule, network, optimizer, update=update, **first)
    begin = time.perf_counter()
    driver.run(1, show_progress=False, out=())
    driver.run(8, show_progress=False, out=())
    compiled, log = time.perf_counter() - begin, RuntimeLog()
    begin, before = time.perf_counter(), driver.step_count
    while time.perf_counter() - begin < seconds:
        driver.run(8, show_progress=False, out=log)
    rate = (driver.step_count - before) / (time.perf_counter() - begin)
    energies = np.asarray(log.data["energy"]["Mean"])
    last = energies[-max(len(energies) // 5, 2) :]
    energy, error = blocked(last, 10)
    known = molecule.energy or 0.0
    stats = jax.devices()[0].memory_stats() or {}
    memory = stats.get("peak_bytes_in_use", 0) / 2**30
    off = 1e3 * (energy - known)
    return [
        system,
        rule,
        driver.step_count,
        rate,
        compiled,
        energy,
        error,
        off,
        memory,
    ]


def measure(
    runs: Any = RUNS, seconds: float = 60.0, n_walkers: int = 4096, size: str = "ferminet"
) -> Table:
    """All runs, printed one by one as they end."""
    rows = []
    for system, rule in runs:
        rows.append(one(system, rule, seconds, n_walkers, size))
        print(rows[-1], flush=True)
    return Table(
        name="molecule_gpu",
        title=f"FermiNet with {n_walkers:,} walkers on {jax.devices()[0].device_kind}",
        header=[
            "system", "rule", "steps", "steps/s", "compilation (s)", "energy", "its error",
            "mHa above the best estimate", "GiB",
        ],
        rows=rows,
        remarks=f'The preset "{size}", {N_PRETRAINED:,} steps of pretraining, {seconds:g} s of '
        "training each; energies are means over the last fifth of the steps.",
    )  # fmt: skip


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--walkers", type=int, default=4096)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("runs", nargs="*", help="pairs such as LiH KFAC")
    given = parser.parse_args()
    runs = list(zip(given.runs[::2], given.runs[1::2], strict=True)) or RUNS
    report(measure(runs, given.seconds, given.walkers, "small" if given.small else "ferminet"))


if __name__ == "__main__":
    main()
