"""Explains why structures have failed."""

import math

import numpy as np
from ase import Atoms, units

from ritz.potentials.close_pairs import close_pair
from ritz.potentials.potential import AbstractPotential
from ritz.relax.batching.batch import FAILED, Outcome
from ritz.relax.batching.constraints import movable
from ritz.relax.batching.list_sizes import collapse

_ROUNDING = 1e-5
"""Relative tolerance for distances and temperatures that the device had in single precision."""


class Reasons:
    """Finds out why structures have failed, from their last evaluation.

    Args:
        model: The potential.
        reach: How far neighbour lists reach, in Angstrom.
        highest: The temperature above which structures have exploded, in K.
    """

    def __init__(self, model: AbstractPotential, reach: float, highest: float):
        self._model = model
        self._reach = reach
        self._highest = highest

    def of(self, given: Atoms, outcome: Outcome, row: int, most: int) -> str:
        """Why the structure in a row of an outcome has failed; empty if it has not.

        Args:
            given: The structure as it was given.
            outcome: Results of the structures, on the host.
            row: The row.
            most: Largest allowed number of neighbours, see `list_sizes.most_allowed`.
        """
        if outcome.status[row] != FAILED:
            return ""
        n = len(given)
        positions = np.asarray(outcome.at.geometry.positions[row, :n], float)
        cell = np.asarray(outcome.at.geometry.cell[row], float)
        if self._model.cutoff is not None:
            why = collapse(positions, cell, given.pbc, self._reach, most)
            if why is not None:
                return why
            pair = close_pair(positions, cell, given.pbc, given.numbers, self._limit)
            if pair is not None:
                return pair.told(given.get_chemical_symbols())
        hot = self._heat(given, np.asarray(outcome.at.velocities[row, :n], float))
        if hot is not None:
            return hot
        forces = outcome.forces[row, :n]
        if not np.isfinite(outcome.energy[row]) or not np.all(np.isfinite(forces)):
            return "energy or forces are not finite"
        if not np.isfinite(outcome.fmax[row]):
            return "forces are too large for numbers"
        return "the next positions or cell, or a quantity that a criterion looks at, are not finite"

    def _limit(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray((1 + _ROUNDING) * self._model.least_distance(first, second))

    def _heat(self, given: Atoms, velocities: np.ndarray) -> str | None:
        if math.isinf(self._highest):
            return None
        kinetic = 0.5 * np.sum(given.get_masses()[:, None] * velocities**2)
        temperature = 2 * kinetic / (units.kB * max(int(movable(given).sum()), 1))
        if temperature <= (1 - _ROUNDING) * self._highest:
            return None
        return (
            f"it has exploded to {temperature:.1e} K, which is above {self._highest:.0e} K: "
            "take a smaller time step, or relax it first if atoms were too close when it began"
        )
