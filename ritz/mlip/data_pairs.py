"""Finds structures of data sets whose atoms are too close for a model."""

import logging
from typing import NamedTuple

import numpy as np

from ritz.mlip.chunk import Chunk
from ritz.mlip.pairs import AT_ONE_PLACE, Dropped, closest_dropped, find_pairs
from ritz.mlip.structure import Structure
from ritz.wording import counted

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


class DataPairs:
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
            "In %s atoms are closer than min_cutoff=%g Angstrom, below which the "
            "descriptor sees no pairs, so that training cannot learn what they do: %s%s. Lower "
            "min_cutoff, or leave them out.", counted(len(closest), "structure"), self._least,
            told, more,
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
