"""CPU time of a step of molecular VMC, and its memory.

JaQMC (public repository, Python 3.12) was measured on two cores of such a machine, with the same
networks, walkers and moves; its figures stand beside those of Ritz.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from benchmarks.report import Table
from ritz.driver.blocks.block import run_block
from ritz.driver.blocks.traced import Observers
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from ritz.molecule import VMC, FermiNet, Molecule
from ritz.samplers import Metropolis
from ritz.updates import Gradient


def helium() -> VMC:
    """He, 3 layers of 64 and 16, 4 determinants, SPRING."""
    molecule = Molecule("He")
    network = FermiNet(molecule, hidden=((64, 16),) * 3, n_determinants=4)
    return VMC(molecule, network, sampler=Metropolis(), n_walkers=256)


def hydrogen_molecule() -> VMC:
    """H2 with the network of the FermiNet paper, Adam."""
    molecule = Molecule("H2")
    return VMC(
        molecule,
        FermiNet(molecule),
        optax.adam(1e-4),
        update=Gradient(),
        sampler=Metropolis(),
        n_walkers=256,
    )


def hydrogen() -> VMC:
    """H with a few parameters and 16 walkers, where the loop costs most."""
    molecule = Molecule("H")
    network = FermiNet(molecule, hidden=((16, 8),), n_determinants=1)
    return VMC(
        molecule,
        network,
        optax.adam(1e-3),
        update=Gradient(),
        sampler=Metropolis(),
        n_walkers=16,
    )


CASES: dict[str, tuple[Callable[[], VMC], int, bool, str, float]] = {
    "He, 3 x 64/16, 4 determinants, SPRING": (helium, 60, False, "0.135 (KFAC), 0.332 (SR)", 0.10),
    "H2, 4 x 256/32, 16 determinants, Adam": (hydrogen_molecule, 12, False, "1.39", 0.25),
    "H, 16 walkers, three loggers": (hydrogen, 4000, True, "0.0051", 1e-4),
}
"""Maker, steps, whether loggers are attached, JaQMC's CPU seconds a step, and the target."""


def temporaries(driver: VMC) -> float:
    """MiB of temporary arrays of the block program."""
    with jax.enable_x64(True):
        lowered = run_block.lower(
            driver.kernel, Observers(driver.loss_name), driver.carry, (), np.int32(0), np.int32(1)
        )
        analysis: Any = lowered.compile().memory_analysis()
    return analysis.temp_size_in_bytes / 2**20


def measure() -> Table:
    """CPU and wall time of each case, after compilation and burn-in, the best of three runs."""
    rows, findings = [], {}
    for name, (make, steps, with_loggers, peer, target) in CASES.items():
        driver = make()
        driver.burn_in(50)
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder) / "log"
            loggers = [RuntimeLog(), JsonLog(base), CSVLog(base)] if with_loggers else None
            driver.run(steps, out=loggers, show_progress=False)
            times = []
            for _ in range(3):
                wall, cpu = time.perf_counter(), time.process_time()
                driver.run(steps, out=loggers, show_progress=False)
                times.append((time.process_time() - cpu, time.perf_counter() - wall))
        cpu, wall = (1e3 * min(column) / steps for column in zip(*times, strict=True))
        rows.append([name, cpu, wall, peer, temporaries(driver)])
        findings[f"{name}: CPU seconds a step (target: at most {target:g})"] = cpu / 1e3
    return Table(
        name="molecule",
        title="A step of molecular VMC",
        header=["system", "CPU, ms", "wall, ms", "JaQMC, CPU s", "temporaries, MiB"],
        rows=rows,
        remarks="256 walkers (16 for H), 10 moves a step, single precision. JaQMC's figures are "
        "those of its public repository on two cores of such a machine.",
        findings=findings,
    )
