"""Trains potentials in many ways, in a process that `tests.layouts` has started."""

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
from tests import layouts
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

LEFT_OUT = ("wallclock", "block", "members")


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


def run(*names: str) -> dict:
    found = {}
    for name in names or CASES:
        driver = driver_of(name)
        log = RuntimeLog()
        driver.run(3 * driver.n_batches, out=[log], show_progress=False)
        rows = {key: log.data[key]["value"].tolist() for key in log.data if key not in LEFT_OUT}
        parameters = jax.tree.leaves(on_host(driver.parameters))
        made = CommitteePotential(ARCH, descriptor()) if driver.is_committee else potential()
        made = graph() if name == "graph" else made
        made.take_from(driver)
        one = made.members[-1] if driver.is_committee else made
        predicted = predict_together(one, tio2(7) * 10, True)
        found[name] = {
            "rows": rows,
            "devices": driver.division.n_devices,
            "errors": {key: np.asarray(value).tolist() for key, value in driver.errors().items()},
            "parameters": [
                np.asarray(leaf).tolist()
                for leaf in (*parameters, predicted.total_energy, predicted.forces)
            ],
        }
    return found


if __name__ == "__main__":
    layouts.main(run)
