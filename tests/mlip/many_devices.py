"""Trains potentials in many ways, as a process that `tests.arrangements` has started."""

import functools

import jax
import numpy as np

from ritz.driver.processes.division import on_host
from ritz.loggers import RuntimeLog
from ritz.mlip import (
    KFAC,
    SGD,
    Adam,
    CommitteeConfig,
    CommitteePotential,
    GraphPotential,
    PaiNN,
)
from ritz.mlip.potentials.predicting import predict_together
from tests.arrangements import columns, report
from tests.mlip.systems import ARCH, ATOMS, config, descriptor, potential, tio2

CASES = {
    "forces": {},
    "stress": {"stress_weight": 0.1, "force_sampling": "random", "force_fraction": 0.5},
    "mean square": {"loss": "mse", "sampling_policy": "error_weighted"},
    "huber": {"loss": "huber", "method": SGD(batchsize=5), "sampling_policy": "energy_weighted"},
    "kfac": {"method": KFAC(batchsize=6)},
    "kfac without forces": {"method": KFAC(batchsize=7), "loss": "huber", "force_weight": 0.0},
    "streamed": {"memory_limit": 1e-5},
    "committee": {},
    "committee, streamed": {"memory_limit": 1e-5},
    "committee, kfac": {"method": KFAC(batchsize=6)},
    "graph": {"method": Adam(batchsize=6), "force_fraction": 0.5},
}


def structures():
    """Known structures, with a stress that means nothing."""
    found = tio2()
    for number, structure in enumerate(found):
        structure.stress = 1e-3 * number * np.eye(3)
    return found


def graph():
    return GraphPotential(PaiNN(n_features=4, n_layers=1, cutoff=2.5), ["Ti", "O"], dtype="float64")


def driver_of(name: str):
    settings = {"iterations": 3, "testpercent": 25, **CASES[name]}
    if name == "graph":
        return graph().driver(tio2(), config(**settings, atomic_energies=ATOMS))
    if "committee" in name:
        made = CommitteePotential(ARCH, descriptor())
        return made.driver(tio2(), config(**settings, atomic_energies=ATOMS), CommitteeConfig(4))
    return potential().driver(structures(), config(**settings, atomic_energies=ATOMS))


def found_by(driver):
    log = RuntimeLog()
    driver.run(3 * driver.n_batches, out=[log], show_progress=False)
    made = CommitteePotential(ARCH, descriptor()) if driver.is_committee else potential()
    made = graph() if "graph" in type(driver.model).__name__.lower() else made
    made.take_from(driver)
    one = made.members[-1] if driver.is_committee else made
    predicted = predict_together(one, tio2(7) * 10, True)
    numbers = {
        f"parameters {place}": leaf
        for place, leaf in enumerate(jax.tree.leaves(on_host(driver.parameters)))
    }
    return {
        "n_devices": driver.division.n_devices,
        "energies": predicted.total_energy,
        "forces": predicted.forces,
        **driver.errors(),
        **columns(log.data),
        **numbers,
    }


if __name__ == "__main__":
    report(lambda: {name: functools.partial(driver_of, name) for name in CASES}, found_by)
