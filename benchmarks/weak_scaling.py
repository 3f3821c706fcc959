"""Two processes that share twice the work, beside two independent runs, on two cores.

Usage: python -m benchmarks.weak_scaling [CASE ...]

A process has a core of its own. Each case is run in turns: two independent runs at the same time,
and one run of two processes with twice the samples, walkers, structures of a batch, or structures.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.data import has_data
from benchmarks.report import Table, report

ROUNDS = 3
SECONDS = 12.0
"""Length of a measurement."""

TARGET = 0.85


def tfim(share: int, first: int) -> Any:
    """The critical chain of 40 spins, RBM, SR, 1,024 samples a process."""
    from benchmarks.lattice import ising
    from ritz.updates import SR

    return ising(40, 1024 * share, 16 * share, update=SR, steps=1, target=1.0).ritz(True)


def helium(share: int, first: int) -> Any:
    """He, FermiNet of 3 x 64/16, 4 determinants, KFAC, 256 walkers a process."""
    from ritz.molecule import VMC, FermiNet, Molecule
    from ritz.samplers import Metropolis
    from ritz.updates import KFAC

    molecule = Molecule("He")
    network = FermiNet(molecule, hidden=((64, 16),) * 3, n_determinants=4)
    return VMC(molecule, network, 0.05, update=KFAC(), sampler=Metropolis(), n_walkers=256 * share)


def tio2(share: int, first: int) -> Any:
    """TiO2, networks of 2 x 20, energies and forces, 32 structures of a batch a process."""
    import dataclasses

    from benchmarks.data import folder
    from benchmarks.potentials import HIDDEN, config, descriptor
    from ritz.mlip import Adam, ANNPotential, read_structures

    settings = dataclasses.replace(config(0.1), method=Adam(mu=1e-3, batchsize=32 * share))
    made = ANNPotential({"Ti": HIDDEN, "O": HIDDEN}, descriptor())
    files = sorted((folder() / "tio2" / "xsf").glob("*.xsf"))[:400]
    # Sizes follow the order of files: each share has some of all.
    return made.driver(read_structures(files if share == 2 else files[first::2]), settings)


def structures(share: int, first: int) -> Any:
    """Argon, 27 atoms, FIRE, 64 structures a process."""
    from benchmarks.relax import argon, model
    from ritz.relax import FIRE, ConvergenceHook, Relaxation

    stage = FIRE(convergence_hook=ConvergenceHook.from_fmax(1e-30))  # never met
    seeds = range(64 * first, 64 * (first + share))
    return Relaxation([argon(seed) for seed in seeds], model(), stage, slots=64 * share)


CASES: dict[str, Callable[[int, int], Any]] = {
    "TFIM 40": tfim,
    "He": helium,
    "TiO2": tio2,
    "64 structures": structures,
}
"""Drivers of as many shares of the work, of those from `first` on: independent runs have the same
structures as the run of both."""


def work(case: str, folder: Path, rank: int, port: int) -> None:
    """A process: measure the seconds of a step, and write them.

    Args:
        case: One of `CASES`.
        folder: Where the processes meet.
        rank: The number of this process.
        port: Where they are connected; 0 for independent runs.
    """
    import jax

    if port:
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    jax.config.update("jax_enable_x64", True)
    driver = CASES[case](2, 0) if port else CASES[case](1, rank)
    driver.run(40, show_progress=False)
    began = time.perf_counter()
    driver.run(20, show_progress=False)
    each = (time.perf_counter() - began) / 20
    steps = max(20, int(SECONDS / each))
    if port:
        from ritz.driver.processes.consensus import agree_on_least

        steps = agree_on_least(steps)
    (folder / f"ready-{rank}").touch()
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.01)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        driver.run(steps // 3, show_progress=False)
        times.append((time.perf_counter() - began) / (steps // 3))
    (folder / f"{rank}.json").write_text(json.dumps(statistics.median(times)))


def measured(case: str, shared: bool) -> float:
    """Seconds of a step of two processes, independent or together: the mean of both."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1] if shared else 0
    with tempfile.TemporaryDirectory() as name:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.weak_scaling", "--work", case, name, *numbers],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                preexec_fn=lambda core=core: os.sched_setaffinity(0, [core]),
            )
            for core, numbers in ((core, (str(rank), str(port))) for rank, core in enumerate(cores))
        ]
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.1)
        if any(codes):
            for process in processes:
                process.kill()  # it would wait for the other one
            raise RuntimeError(f"{case}: a process failed.")
        return statistics.mean(json.loads((Path(name) / f"{r}.json").read_text()) for r in (0, 1))


def measure(cases: list[str]) -> Table:
    """Efficiency of two processes by case."""
    rows = []
    for case in cases:
        alone, together = [], []
        for _ in range(ROUNDS):
            alone.append(measured(case, shared=False))
            together.append(measured(case, shared=True))
        ratios = [a / t for a, t in zip(alone, together, strict=True)]
        milliseconds = [1e3 * statistics.median(times) for times in (alone, together)]
        rows.append([case, *milliseconds, statistics.median(ratios), min(ratios), max(ratios)])
        sys.stderr.write(f"{case}: {ratios}\n")
    return Table(
        "weak_scaling",
        "Two processes on two cores: twice the work",
        ["case", "alone (ms/step)", "together (ms/step)", "efficiency", "lowest", "highest"],
        rows,
        remarks=(
            "Two independent runs at the same time, a core each, beside one run of two processes "
            "(Gloo on loopback) with twice the samples, walkers, structures of a batch or "
            "structures; efficiency is the quotient of the times. TFIM 40: RBM, SR, 1,024 samples "
            "a process; He: FermiNet, KFAC, 256 walkers; TiO2: networks of 2 x 20, energies and "
            f"forces, 32 structures of a batch; 64 argon crystals of 27 atoms, FIRE. {ROUNDS} "
            "rounds in turns; medians."
        ),
        findings={f"efficiency wanted: {TARGET}": ", ".join(f"{r[0]} {r[3]:.2f}" for r in rows)},
    )


def main() -> None:
    """Measure, or work as one of the processes."""
    if sys.argv[1:2] == ["--work"]:
        case, folder, rank, port = sys.argv[2:]
        work(case, Path(folder), int(rank), int(port))
        return
    known = [case for case in CASES if case != "TiO2" or has_data()]
    report(measure(sys.argv[1:] or known))


if __name__ == "__main__":
    main()
