"""Seconds per epoch of training interatomic potentials, and of featurising."""

import statistics
import time
from typing import Any

from benchmarks.data import TIO2_ATOMS, folder
from benchmarks.report import Table
from ritz.callbacks import BestState
from ritz.loggers import RuntimeLog
from ritz.mlip import (
    Adam,
    ANNPotential,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    Structure,
    TrainingConfig,
    read_structures,
)
from ritz.mlip.committee.training import BestMembers, CommitteeTraining
from ritz.mlip.training.callbacks import EpochHistory

ROUNDS = 5
HIDDEN = [(20, "tanh"), (20, "tanh")]

AENET = {"featurise": 21.0, "energy": 0.0103, "forces": 1.46}
"""Seconds that aenet-python 0.1.0 takes on one thread with all its caches, on the same structures,
descriptor, networks and optimiser: once to featurise, and per epoch with validation."""


def descriptor() -> ChebyshevDescriptor:
    """That of the comparison: 30 features."""
    return ChebyshevDescriptor(["Ti", "O"], 10, 6.0, 3, 3.5, min_cutoff=0.5)


def config(force_weight: float) -> TrainingConfig:
    """180 structures to train on and 20 to validate with, in batches of 32, all forces."""
    return TrainingConfig(
        method=Adam(mu=1e-3, batchsize=32),
        testpercent=10,
        split_seed=0,
        precision="float64",
        force_weight=force_weight,
        atomic_energies=TIO2_ATOMS,
        checkpoint_dir=None,
    )


class Timed:
    """A driver that is timed in rounds, with a log, the history and the best parameters."""

    def __init__(self, driver: Any):
        self.driver, self.log = driver, RuntimeLog()
        alone = not isinstance(driver, CommitteeTraining)
        best = BestState("validation_loss", z=0) if alone else BestMembers("validation_loss")
        self.callbacks = [EpochHistory(), best]
        self.times: list[float] = []
        self.first = self.run(2)

    def run(self, epochs: int) -> float:
        """Seconds of so many epochs."""
        began = time.perf_counter()
        self.driver.run(
            epochs * self.driver.n_batches,
            out=self.log,
            callback=self.callbacks,
            show_progress=False,
        )
        return time.perf_counter() - began

    @property
    def median(self) -> float:
        """Seconds per epoch."""
        return statistics.median(self.times)


def rounds(drivers: list[Any], epochs: int) -> list[Timed]:
    """Time drivers in turns, so that what else the machine does is the same for all of them."""
    timed = [Timed(driver) for driver in drivers]
    for one in timed:
        one.run(epochs)  # finds the length of blocks
    for _ in range(ROUNDS):
        for one in timed:
            one.times.append(one.run(epochs) / epochs)
    return timed


def committee(structures: list[Structure], settings: TrainingConfig) -> CommitteeTraining:
    """Four members."""
    made = CommitteePotential({"Ti": HIDDEN, "O": HIDDEN}, descriptor())
    return made.driver(structures, settings, CommitteeConfig(num_members=4))


def measure() -> Table:
    """One row a case."""
    files = sorted((folder() / "tio2" / "xsf").glob("*.xsf"))[:200]
    structures = read_structures(files)
    began = time.perf_counter()
    descriptor().featurize_all(structures)
    first = time.perf_counter() - began
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        descriptor().featurize_all(structures)
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    rows: list[Any] = [
        (
            "featurise 200 structures",
            median,
            min(times),
            max(times),
            AENET["featurise"],
            AENET["featurise"] / median,
            first,
            "",
            "",
        )
    ]
    for name, weight, epochs in (("energy", 0.0, 300), ("forces", 0.1, 30)):
        potential = ANNPotential({"Ti": HIDDEN, "O": HIDDEN}, descriptor())
        settings = config(weight)
        one, four = rounds(
            [potential.driver(structures, settings), committee(structures, settings)], epochs
        )
        ratio = statistics.median(b / a for a, b in zip(one.times, four.times, strict=True))
        label = "energies" if name == "energy" else "energies and forces"
        for timed, members in ((one, 1), (four, 4)):
            peer = AENET[name] * members
            forces = timed.log.data.get("RMSE_force_test")
            rows.append(
                (
                    label + (f", {members} members ({ratio:.2f} x one)" if members > 1 else ""),
                    timed.median,
                    min(timed.times),
                    max(timed.times),
                    peer,
                    peer / timed.median,
                    timed.first,
                    1e3 * float(timed.log.data["RMSE_test"].values[-1]),
                    "" if forces is None else float(forces.values[-1]),
                )
            )
    return Table(
        "potentials",
        "Training of interatomic potentials",
        ("case", "s", "shortest", "longest", "aenet s", "ratio", "first s", "meV/atom", "eV/Å"),
        rows,
        "200 TiO2 structures, 4,345 atoms; 30 features, two networks of 30-20-20-1 nodes in double "
        "precision, Adam, batches of 32, 180 structures to train on and 20 to validate with, all "
        f"forces. Seconds to featurise, or per epoch with validation and a log: the median of "
        f"{ROUNDS} rounds after the first, which compiles. The aenet column is aenet-python 0.1.0 "
        "on one thread with all its caches, measured apart; for committees times the members. "
        "The errors are those of validation after as many epochs as were timed.",
    )
