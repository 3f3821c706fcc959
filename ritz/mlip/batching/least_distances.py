"""How close atoms come in data: two at one place are refused, distances are noted."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.descriptors.pairs import AT_ONE_PLACE, Dropped, closest_dropped, find_pairs

SHARE = 0.8
"""Atoms may be this many times as far apart as the closest ones of their species in the training
data. A lattice that is compressed so much has half of its volume: what a potential says beyond is
no better than a guess, and often falls where it should rise."""


def least_distances(chunk: Chunk) -> Float[np.ndarray, "species species"]:
    """The smallest distance between atoms of each two species, in Angstrom; inf for none.

    Args:
        chunk: The structures. If their features are known, pairs were not searched, and are here.
    """
    found = np.full((len(chunk.species), len(chunk.species)), np.inf)
    if chunk.features is None or chunk.knows_pairs:
        pairs = chunk.pairs
        kinds = pairs.kinds[pairs.first], pairs.kinds[pairs.second]
        np.minimum.at(found, kinds, pairs.distances)
    else:
        own = np.split(chunk.kinds, np.cumsum(chunk.sizes)[:-1])
        for structure, kinds in zip(chunk.structures, own, strict=True):
            first, second, shifts = find_pairs(structure, chunk.cutoff)
            positions = np.asarray(structure.positions)
            vectors = positions[second] - positions[first] + shifts @ structure.box
            distances = np.sqrt(np.sum(vectors**2, axis=-1))
            np.minimum.at(found, (kinds[first], kinds[second]), distances)
    return np.minimum(found, found.T)


def plain(distances: Float[np.ndarray, "species species"]) -> list[list[float | None]]:
    """Distances as JSON holds them, None for species that never meet."""
    return [[float(d) if np.isfinite(d) else None for d in row] for row in distances]


def limits(
    statistics: Mapping[str, Any], least: float, n_species: int
) -> Float[np.ndarray, "species species"]:
    """Below which distance, in Angstrom, two atoms of each two species are too close.

    Species that never meet in the data get the limit of the closest that do. Of potentials whose
    data are not known, as in files of aenet, only the descriptor's limit is left.

    Args:
        statistics: Those of the potential, see `AbstractMLIP.statistics`.
        least: The distance below which the descriptor leaves pairs out.
        n_species: How many species there are.
    """
    known = statistics.get("least_distances")
    if known is None:
        return np.full((n_species, n_species), least)
    found = np.array([[np.inf if d is None else d for d in row] for row in known], float)
    smallest = found.min(initial=np.inf)
    found = np.where(np.isfinite(found), found, smallest if np.isfinite(smallest) else 0.0)
    return np.maximum(SHARE * found, least)


_logger = logging.getLogger(__name__)

_SEARCHED = 0.5
"""Pairs are searched up to this distance at least, in Angstrom; cell lists need some width."""

_TOLD = 3
"""How many structures a warning names."""


class _Close(NamedTuple):
    name: str
    structure: Structure
    pair: Dropped

    def __str__(self) -> str:
        first, second = self.pair.first, self.pair.second
        symbols = self.structure.species
        other = f"{second} ({symbols[second]})" if second != first else "its own periodic image"
        return f"{self.name}, atoms {first} ({symbols[first]}) and {other}"


class ClosePairCheck:
    """Refuses data with two atoms at one place, and warns of pairs that a model does not see.

    Args:
        least: The distance below which the model leaves pairs out, in Angstrom.
    """

    def __init__(self, least: float):
        self._least = least
        self._count = 0
        self._close: list[_Close] = []

    def see(self, chunk: Chunk) -> None:
        """Look at the next structures.

        Raises:
            ValueError: If two atoms are at one place; structure and atoms are named.
        """
        begin, self._count = self._count, self._count + len(chunk.structures)
        for place, pair in _dropped(chunk, max(self._least, AT_ONE_PLACE)).items():
            structure = chunk.structures[place]
            found = _Close(structure.name or f"structure {begin + place}", structure, pair)
            if pair.distance <= AT_ONE_PLACE:
                raise ValueError(
                    f"{found} are at one place ({pair.distance:.3g} Angstrom apart); remove one "
                    "of them, or the structure."
                )
            self._close.append(found)

    def finish(self) -> None:
        """Warn of what was found."""
        if not self._close:
            return
        closest = sorted(self._close, key=lambda found: found.pair.distance)
        told = "; ".join(f"{f}, {f.pair.distance:.3g} Angstrom" for f in closest[:_TOLD])
        more = f"; and {len(closest) - _TOLD} more" if len(closest) > _TOLD else ""
        _logger.warning(
            "In %d structures atoms are closer than min_cutoff=%g Angstrom, below which the "
            "descriptor sees no pairs, so that training cannot learn what they do: %s%s. Lower "
            "min_cutoff, or leave them out.", len(closest), self._least, told, more,
        )  # fmt: skip


def _dropped(chunk: Chunk, least: float) -> dict[int, Dropped]:
    """The closest pair below `least` of each structure that has one, by its place."""
    if chunk.knows_pairs:
        return dict(chunk.pairs.dropped)
    found = {}
    for place, structure in enumerate(chunk.structures):
        first, second, shifts = find_pairs(structure, max(least, _SEARCHED))
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        pair = closest_dropped(first, second, np.sqrt(np.sum(vectors**2, axis=1)), least)
        if pair is not None:
            found[place] = pair
    return found
