"""Pretraining and judging of wave functions, for benchmarks of molecules."""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.blocking import blocked
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Evaluation, Molecule, Pretraining
from ritz.molecule.orbitals import orbitals_of


class Judgement(NamedTuple):
    """Energy of frozen parameters on fresh samples, in hartree."""

    energy: float
    error: float
    """One standard error."""
    variance: float
    """Of the local energy, in hartree^2; the median over the steps."""


def pretrained(
    molecule: Molecule, network: Any, n_steps: int = 300, *, n_walkers: int = 512, seed: int = 0
) -> dict[str, Any]:
    """Arguments with which a driver goes on after pretraining on Hartree-Fock orbitals."""
    settings = {"n_walkers": n_walkers, "seed": seed}
    first = Pretraining(molecule, network, orbitals_of(molecule), **settings)
    first.run(n_steps, show_progress=False, out=())
    return {"params": first.state.parameters, "electrons": first.state.electrons, **settings}


def judged(driver: VMC, network: Any, n_steps: int, *, n_burn_in: int, seed: int = 0) -> Judgement:
    """The energy of a driver's present parameters, from its walkers on."""
    electrons = driver.state.electrons
    evaluation = Evaluation(
        driver.molecule,
        network,
        driver.state.parameters,
        electrons=electrons,
        n_walkers=len(electrons),
        seed=seed,
    )
    evaluation.burn_in(n_burn_in)
    log = RuntimeLog()
    evaluation.run(n_steps, show_progress=False, out=log)
    rows = log.data["energy"]
    return Judgement(*blocked(rows["Mean"]), float(np.median(np.asarray(rows["Variance"]))))
