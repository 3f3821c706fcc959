"""Pairs of atoms that are closer than a potential allows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ritz.potentials.pairs import pairs_on_host

ONE_PLACE = 1e-3
"""Distance in Angstrom below which atoms count as being at the same place, given the rounding of
coordinates in files."""

_SEARCHED = 0.5
"""Pairs are searched up to this distance at least, in Angstrom; cell lists need some width."""

Limit = Callable[[np.ndarray, np.ndarray], ArrayLike]
"""Atomic numbers of pairs -> least distances, see `AbstractPotential.least_distance`."""


class ClosePair(NamedTuple):
    """Two atoms that are too close."""

    first: int
    second: int
    """The same as `first` where an atom meets its own periodic image."""
    distance: float
    """Their distance, in Angstrom."""
    limit: float
    """Least allowed distance, in Angstrom."""

    def told(self, symbols: Sequence[str]) -> str:
        """Atoms, species, distance and limit as a part of a sentence.

        Args:
            symbols: The chemical symbols of all atoms.
        """
        first, second = (f"{i} ({symbols[i]})" for i in (self.first, self.second))
        if self.first == self.second:
            second = "its own periodic image"
        if self.distance < ONE_PLACE:
            return f"atoms {first} and {second} are at one place"
        return (
            f"atoms {first} and {second} are {self.distance:.3g} Angstrom apart, but the potential "
            f"knows such pairs only from {self.limit:.3g} Angstrom on"
        )


def close_pair(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, numbers: ArrayLike, limit: Limit
) -> ClosePair | None:
    """The pair of atoms that is closest relative to its limit, if it is too close.

    Args:
        positions: Of shape (n_atoms, 3), in Angstrom.
        cell: Three linearly independent lattice vectors as rows.
        pbc: Along which of them the structure is periodic.
        numbers: Atomic numbers.
        limit: How far apart pairs must be.
    """
    positions, cell = np.asarray(positions, float), np.asarray(cell, float)
    numbers = np.asarray(numbers)
    if not (np.all(np.isfinite(positions)) and np.all(np.isfinite(cell))):
        return None
    kinds = np.unique(numbers)
    reach = max(float(np.max(limit(kinds[:, None], kinds))), _SEARCHED)
    first, second, shifts = pairs_on_host(positions, cell, np.asarray(pbc), reach)
    vectors = positions[second] - positions[first] + shifts @ cell
    return closest_of(first, second, np.sqrt(np.sum(vectors**2, axis=-1)), numbers, limit)


def closest_of(
    first: np.ndarray, second: np.ndarray, distances: np.ndarray, numbers: np.ndarray, limit: Limit
) -> ClosePair | None:
    """`close_pair` for given pairs.

    Args:
        first: The first atom of each pair.
        second: The second one.
        distances: Distances of the pairs, in Angstrom.
        numbers: Atomic numbers of all atoms.
        limit: How far apart pairs must be.
    """
    if not len(distances):
        return None
    limits = np.broadcast_to(np.asarray(limit(numbers[first], numbers[second])), distances.shape)
    place = int(np.argmin(distances / np.maximum(limits, ONE_PLACE)))
    distance, least = float(distances[place]), float(limits[place])
    if distance >= max(least, ONE_PLACE):
        return None
    a, b = int(first[place]), int(second[place])
    return ClosePair(min(a, b), max(a, b), distance, least)
