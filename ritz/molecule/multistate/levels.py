"""Energy levels: the result of an evaluation of several states."""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from ritz.stages.digest import Estimate

EV = 27.211386245981
"""A hartree in electronvolts (CODATA 2022)."""


class Level(NamedTuple):
    """A state with its energy, in hartree, and the distance from the lowest state."""

    state: int
    """Its number in the run."""
    energy: float
    error: float
    """One standard error."""
    excitation: float
    """The energy less that of the lowest state, 0 for that one."""
    excitation_error: float
    """One standard error; walkers of different states are independent."""

    @property
    def excitation_ev(self) -> float:
        """The excitation energy in electronvolts."""
        return self.excitation * EV

    @property
    def excitation_error_ev(self) -> float:
        """The error of the excitation energy in electronvolts."""
        return self.excitation_error * EV


def energy_levels(estimates: Mapping[str, Estimate], energy: str = "energy") -> list[Level]:
    """The states of an evaluation, from the lowest energy to the highest.

    Args:
        estimates: By name, from `read_digest` or `Digest.estimates`.
        energy: Name of the energy, whose values by state are `energy_0` and so on.

    Raises:
        ValueError: If there are no energies of several states.
    """
    names = itertools.takewhile(
        lambda name: name in estimates, (f"{energy}_{k}" for k in itertools.count())
    )
    found = sorted((estimates[name].mean, estimates[name].error, k) for k, name in enumerate(names))
    if not found:
        raise ValueError(
            f"these are no estimates of several states: {energy}_0 is missing among "
            f"{', '.join(estimates) or 'none'}."
        )
    lowest, error = found[0][:2]
    return [
        Level(k, mean, of_mean, mean - lowest, math.hypot(of_mean, error) if place else 0.0)
        for place, (mean, of_mean, k) in enumerate(found)
    ]
