"""Tells of structures whose atoms are closer than a potential can tell."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from ritz.mlip.fitted import limit_of
from ritz.mlip.pairs import Found, find_pairs
from ritz.mlip.structure import Structure
from ritz.potentials.close_pairs import ONE_PLACE, ClosePair, closest_of
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_TOLD = 3
"""So many structures are named in a warning."""


class ClosePairs:
    """Searches the pairs of structures, and notes those that are too close.

    Args:
        potential: The potential that the pairs are for, see `AbstractMLIP`.
        structures: The structures.
    """

    def __init__(self, potential: Any, structures: Sequence[Structure]):
        self._model, self._limits = potential.model, potential.limits
        self._structures = structures
        self.found: dict[int, ClosePair] = {}
        """The closest pair of each structure that has one, by its place."""

    def find(self, place: int, structure: Structure, cutoff: float) -> Found:
        """`find_pairs`, as `Chunk` calls it."""
        first, second, shifts = find_pairs(structure, cutoff)
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        numbers = np.array([atomic_numbers[symbol] for symbol in structure.species])
        close = closest_of(
            first, second, np.sqrt(np.sum(vectors**2, axis=-1)), numbers,
            lambda a, b: limit_of(self._model.species, self._limits, a, b),
        )  # fmt: skip
        if close is not None:
            self.found[place] = close
        return first, second, shifts

    def report(self, names: Sequence[str]) -> list[int]:
        """Warn of them, and return those whose energy is not known, since pairs were left out.

        Args:
            names: What the structures are called.
        """
        dropped = max(self._model.least, ONE_PLACE)
        lost = [place for place, pair in self.found.items() if pair.distance < dropped]
        guessed = [place for place in self.found if place not in lost]
        self._warn(lost, names, "their energies are not known (NaN)")
        self._warn(guessed, names, "their energies are a guess")
        return lost

    def _warn(self, places: Sequence[int], names: Sequence[str], result: str) -> None:
        if not places:
            return
        told = [
            f"{names[n]}: {self.found[n].told(self._structures[n].species)}"
            for n in sorted(places)[:_TOLD]
        ]
        if len(places) > _TOLD:
            told.append(f"and {len(places) - _TOLD} more")
        _logger.warning(
            "Of %s atoms are closer than the potential can tell, so that %s. %s.",
            counted(len(places), "structure"), result, "; ".join(told),
        )  # fmt: skip
