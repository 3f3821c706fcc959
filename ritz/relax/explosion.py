"""How hot a structure may get in dynamics before its trajectory means nothing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units

from ritz.relax.constraints import movable

HOT = 1e5
"""In K, or 13 eV an atom: no bond is left long before."""

_FACTOR = 100.0
"""A structure may be so many times hotter than it began, or than its thermostat."""


def highest_temperature(stages: Sequence[Any], structures: Sequence[Atoms]) -> float:
    """The temperature, in K, above which a structure counts as exploded.

    The largest of `HOT` and a hundred times what the thermostats ask for and the structures begin
    with, rounded up to a power of ten, so that few programs are compiled; infinite without
    integrators.

    Args:
        stages: What the structures go through.
        structures: As they were given.
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
