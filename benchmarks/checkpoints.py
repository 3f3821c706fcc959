"""What checkpoints cost a lattice run.

The same run without and with them, in turns; and one save by itself.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import netket as nk
import numpy as np

from benchmarks.report import Table
from ritz.checkpoint import Checkpoint
from ritz.checkpoint.contents import describe_run, gather
from ritz.checkpoint.folder import CheckpointFolder
from ritz.lattice import VMC, mc_state
from ritz.lattice.ising import ising_chain
from ritz.updates import SR

ROUNDS = 7
STEPS = 1_000
EVERY = 50
SAVES = 50


def make_driver() -> VMC:
    """A chain of 20 spins, 1,024 samples."""
    hamiltonian = ising_chain(20, 1.0)
    state = mc_state(
        nk.models.RBM(alpha=1), hamiltonian.hilbert, n_samples=1024, seed=1, sampler_seed=2
    )
    return VMC(hamiltonian, 0.02, variational_state=state, update=SR(diag_shift=1e-2))


def time_run(driver: VMC, callbacks: list[Any]) -> float:
    """Seconds a step, the last save included."""
    start = time.perf_counter()
    driver.run(STEPS, callback=callbacks, show_progress=False)
    return (time.perf_counter() - start) / STEPS


def time_saves(driver: VMC, folder: Path) -> tuple[float, float, float]:
    """Median seconds for which a save blocks, until it is written, and of CPU time."""
    saved, description = CheckpointFolder(folder), describe_run(driver, 0, None)
    blocked, written, worked = [], [], []
    for step in range(SAVES):
        start, work = time.perf_counter(), time.process_time()
        saved.save(step, False, gather(driver, description, False, None))
        blocked.append(time.perf_counter() - start)
        saved.wait()
        written.append(time.perf_counter() - start)
        worked.append(time.process_time() - work)
    return tuple(float(np.median(times[2:])) for times in (blocked, written, worked))


def measure() -> Table:
    """Run in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saving = {
            "none": [],
            f"every {EVERY} steps": [Checkpoint(folder / "often", every_steps=EVERY)],
            "once a minute (default)": [Checkpoint(folder / "default")],
        }
        drivers = {contender: make_driver() for contender in saving}
        for contender, callbacks in saving.items():
            time_run(drivers[contender], callbacks)  # compiles
        times: dict[str, list[float]] = {contender: [] for contender in saving}
        for _ in range(ROUNDS):
            for contender, callbacks in saving.items():
                times[contender].append(time_run(drivers[contender], callbacks))
        blocked, written, worked = time_saves(drivers["none"], folder / "alone")
    plain = float(np.median(times["none"]))
    rows = [
        [
            contender,
            *(1e3 * f(found) for f in (np.median, np.min, np.max)),
            100 * (float(np.median(found)) / plain - 1),
        ]
        for contender, found in times.items()
    ]
    often = float(np.median(times[f"every {EVERY} steps"]))
    return Table(
        "checkpoints",
        "Checkpoints of a lattice run",
        ["saved", "ms a step", "fastest", "slowest", "more (%)"],
        rows,
        f"Transverse-field Ising chain of 20 spins, RBM, 1,024 samples, SR. Median of {ROUNDS} "
        f"turns of {STEPS} steps; each turn ends with a checkpoint that is waited for, in the "
        "default too, where it is the only one. A save by itself blocks the run for "
        f"{1e3 * blocked:.1f} ms, is written after {1e3 * written:.1f} ms, and takes "
        f"{1e3 * worked:.1f} ms of CPU time on all cores.",
        {
            f"Every {EVERY} steps, per cent (target: below 10)": 100 * (often / plain - 1),
            "Once a minute, per cent, if all of its CPU time were lost (target: below 1)": 100
            * worked
            / 60,
        },
    )
