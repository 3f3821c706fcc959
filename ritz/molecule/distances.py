"""Checks of the distances between nuclei."""

import logging
from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.units import Bohr
from jaxtyping import Float

_logger = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.7, 1.8
"""Distances of bonds, in sums of the covalent radii; nearest neighbours beyond them are warned of.
The ratio of an angstrom to a bohr is 1.89."""

_ON_TOP = 1e-3
"""Nuclei closer than this, in bohr, are refused."""


def check_distances(symbols: Sequence[str], places: Float[np.ndarray, "n 3"]) -> None:
    """Refuse nuclei on top of each other, and warn where nearest neighbours look like no bond."""
    if len(places) < 2:
        return
    distances = check_apart(places, symbols)
    radii = np.array([covalent_radii[atomic_numbers[str(symbol)]] / Bohr for symbol in symbols])
    ratios = distances / (radii[:, None] + radii)
    shortest, loosest = np.min(ratios), np.max(np.min(ratios, axis=1))
    if shortest < _SHORTEST:
        i, j = map(int, np.unravel_index(np.argmin(ratios), ratios.shape))
        _logger.warning(
            "%s and %s are %.3g bohr (%.3g angstrom) apart, closer than in any bond: is the unit "
            "right?", symbols[i], symbols[j], distances[i, j], distances[i, j] * Bohr,
        )  # fmt: skip
    elif loosest > _LONGEST:
        i = int(np.argmax(np.min(ratios, axis=1)))
        nearest = float(np.min(distances[i]))
        _logger.warning(
            "The nearest neighbour of atom %d (%s) is %.3g bohr (%.3g angstrom) away, farther than "
            "in any bond: is the unit right?", i, symbols[i], nearest, nearest * Bohr,
        )  # fmt: skip


def check_apart(
    places: Float[np.ndarray, "n 3"], symbols: Sequence[str]
) -> Float[np.ndarray, "n n"]:
    """Distances between nuclei, infinite from each to itself; refuse two on top of each other."""
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    np.fill_diagonal(distances, np.inf)
    i, j = map(int, np.unravel_index(np.argmin(distances), distances.shape))
    if distances[i, j] < _ON_TOP:
        raise ValueError(
            f"atoms {min(i, j)} ({symbols[min(i, j)]}) and {max(i, j)} ({symbols[max(i, j)]}) are "
            "on top of each other; give each its own position."
        )
    return distances
