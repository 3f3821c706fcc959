"""Temperature limit above which dynamics counts as exploded."""

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units

from ritz.relax.algorithms.stage import AbstractStage
from ritz.relax.batching.constraints import movable

HOT = 1e5
"""Lowest limit, in K: 13 eV per atom in kinetic energy, far above any bond."""

_FACTOR = 100.0
"""Ratio of the limit to the initial and to the thermostats' temperatures."""


def highest_temperature(stages: Sequence[AbstractStage], structures: Sequence[Atoms]) -> float:
    """The temperature, in K, above which a structure counts as exploded.

    The largest of `HOT` and a hundred times what the thermostats ask for and the structures begin
    with, rounded up to a power of ten, so that few programs are compiled; infinite without
    integrators.

    Args:
        stages: The stages of the run.
        structures: The structures as given.
    """
    if not any(stage.integrates for stage in stages):
        return math.inf
    asked = [getattr(stage, "temperature", None) or 0.0 for stage in stages]
    begun = [_temperature(atoms) for atoms in structures]
    highest = max(HOT, _FACTOR * max(*asked, *begun, 0.0))
    return 10.0 ** math.ceil(math.log10(highest) - 1e-9)


def _temperature(atoms: Atoms) -> float:
    if "momenta" not in atoms.arrays:
        return 0.0
    free = movable(atoms)
    squares = np.where(free, atoms.get_momenta() ** 2, 0) / atoms.get_masses()[:, None]
    return float(np.sum(squares) / (units.kB * max(int(free.sum()), 1)))
