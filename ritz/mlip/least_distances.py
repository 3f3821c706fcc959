"""How close atoms come in data, and below which distance a potential cannot tell."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ritz.mlip.chunk import Chunk
from ritz.mlip.pairs import find_pairs

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
