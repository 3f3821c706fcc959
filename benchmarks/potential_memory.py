"""Memory that training potentials takes, with data in memory and streamed from a file."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import TIO2_ATOMS, folder
from benchmarks.report import Table
from ritz.mlip import ChebyshevDescriptor, HDF5StructureDataset, Structure, read_structures

LIMIT = 0.5
"""GB; what is streamed stays within it."""

SIZES = (2000, 8000)
EPOCHS = 2


def descriptor() -> ChebyshevDescriptor:
    """That of the comparison of speed: 30 features."""
    return ChebyshevDescriptor(["Ti", "O"], 10, 6.0, 3, 3.5, min_cutoff=0.5, dtype="float32")


def displaced(count: int) -> Iterator[Structure]:
    """The thousand structures of TiO2 again and again, each time displaced anew."""
    rng = np.random.default_rng(0)
    known = read_structures(folder() / "tio2" / "xsf")
    for n in range(count):
        s = known[n % len(known)]
        moved = s.positions + rng.normal(scale=0.01, size=s.positions.shape)
        yield Structure(moved, s.species, s.energy, s.forces, s.cell, s.pbc)


RUN = """
import json, resource, sys, time
from pathlib import Path
from benchmarks.potential_memory import EPOCHS, LIMIT, descriptor
from ritz.mlip import Adam, ANNPotential, EpochCallback, HDF5StructureDataset, TrainingConfig

path, mode = sys.argv[1:]
dataset = HDF5StructureDataset(path, descriptor(), in_memory_cache_size=64)
hidden = [(20, "tanh"), (20, "tanh")]
potential = ANNPotential({"Ti": hidden, "O": hidden}, descriptor())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

class Times(EpochCallback):
    def on_run_start(self, step, driver):
        super().on_run_start(step, driver)
        self.seen = []
    def on_epoch_end(self, epoch, log_data, driver):
        self.seen.append(time.perf_counter())

times = Times()
began = time.perf_counter()
out = potential.train(dataset=dataset, callback=times, config=TrainingConfig(
    iterations=EPOCHS + 1, method=Adam(batchsize=32), force_weight=0.1, checkpoint_dir=None,
    show_progress=False, save_best=False, memory_limit=LIMIT if mode == "streamed" else 100.0,
))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = (times.seen[-1] - times.seen[0]) / EPOCHS
print(json.dumps([out.timing["preparation"], seconds, before / 1e6, peak / 1e6]))
"""


def run(path: Path, mode: str) -> list[float]:
    """Seconds to prepare and per epoch, and the most memory in GB, before and in all."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), mode], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure() -> Table:
    """One row for each size and way."""
    rows: list[Any] = []
    with tempfile.TemporaryDirectory() as where:
        for count in SIZES:
            for kept in (False, True):
                path = Path(where) / f"{count}-{kept}.h5"
                dataset = HDF5StructureDataset(path, descriptor(), TIO2_ATOMS)
                dataset.build_database(
                    displaced(count), persist_features=True, persist_force_derivatives=kept
                )
                size = path.stat().st_size / 1e9
                for mode in ("streamed",) if kept else ("in memory", "streamed"):
                    label = mode + (", derivatives in the file" if kept else "")
                    prepared, seconds, before, peak = run(path, mode)
                    rows.append((label, count, size, prepared, seconds, before, peak))
                path.unlink()
    return Table(
        "potential_memory",
        "Training on data larger than memory",
        ("data", "structures", "file GB", "prepare s", "s per epoch", "GB before", "GB at most"),
        rows,
        "TiO2 structures, displaced at random, from an HDF5 file with their features; energies and "
        "all forces, 30 features, single precision, batches of 32, a tenth held out, with "
        f"validation. Streamed with memory_limit={LIMIT} GB, within which the smaller set fits and "
        "stays in memory. The most memory of the process, and "
        "what it took before training (Python with JAX); the program that is compiled takes "
        "some too.",
    )
