"""Some structures while they are packed, with their pairs."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int

from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.pairs import PairArrays, PairTable, kinds_of, pair_table
from ritz.potentials.pairs import row_places

_T = TypeVar("_T")


class Chunk:
    """Structures, and what is known of them already; pairs are found when they are asked for.

    Atoms are ordered by structure, and by species within it.

    Args:
        structures: The structures.
        species: The species by which atoms are ordered.
        cutoff: Up to which pairs are found, in Angstrom.
        least: Closer pairs, in Angstrom, are left out.
        features: By structure, in the structure's order of atoms, if they are known.
        widths: How many neighbours an atom has at the most, of all and of those within the
            descriptor's `near_cutoff`, if it is known.
        derivatives: Reads what `pair_derivatives` has given for each structure, if it was kept.
        search: Finds the pairs of a structure, given its place, the structure and the cutoff.

    Raises:
        ValueError: If an atom is of none of the species.
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        species: Sequence[str],
        cutoff: float,
        least: float = 0.0,
        features: Sequence[np.ndarray] | None = None,
        widths: tuple[int, int] | None = None,
        derivatives: Callable[[], Sequence[Mapping[str, np.ndarray]]] | None = None,
        search: Callable[[int, Structure, float], PairArrays] | None = None,
    ):
        self.structures = list(structures)
        self.species = species
        self.cutoff = cutoff
        self.least = least
        self.features = None if features is None else np.asarray(np.concatenate(features), float)
        """Of all atoms, in the structures' order, if they are known."""
        self.known_widths = widths
        self._derivatives = derivatives
        self.sizes = np.array([len(structure) for structure in structures], int)
        kinds = [kinds_of(s, species, place) for place, s in enumerate(structures)]
        self.kinds = np.concatenate(kinds)
        """The species of each atom, in the structures' order."""
        self._search = search

    @property
    def n_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.kinds)

    @property
    def knows_pairs(self) -> bool:
        """Whether the pairs were found already."""
        return "pairs" in vars(self)

    @functools.cached_property
    def pairs(self) -> PairTable:
        """All pairs within the cutoff; atoms are in the structures' order."""
        search = self._search
        found = None
        if search is not None:
            found = [search(n, s, self.cutoff) for n, s in enumerate(self.structures)]
        return pair_table(self.structures, self.kinds, self.cutoff, self.least, found)

    @property
    def derivatives(self) -> Sequence[Mapping[str, np.ndarray]] | None:
        """By structure, what `pair_derivatives` has given, if it was kept."""
        return None if self._derivatives is None else self._derivatives()

    @functools.cached_property
    def order(self) -> np.ndarray:
        """The atoms by structure and species."""
        return np.lexsort((np.arange(self.n_atoms), self.kinds, self.structure))

    @property
    def structure(self) -> np.ndarray:
        """The structure of each atom."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def counts(self) -> np.ndarray:
        """How many atoms of each species each structure has."""
        counts = np.zeros((len(self.sizes), len(self.species)), np.int32)
        np.add.at(counts, (self.structure, self.kinds), 1)
        return counts

    @functools.cached_property
    def within(self) -> np.ndarray:
        """The place of each atom among those of its species in its structure."""
        rank = np.empty(self.n_atoms, int)
        rank[self.order] = np.arange(self.n_atoms)
        group = self.structure * len(self.species) + self.kinds
        firsts = np.full(group.max() + 1, self.n_atoms)
        np.minimum.at(firsts, group, rank)
        return rank - firsts[group]

    def only(self, chosen: np.ndarray) -> "Chunk":
        """Some of the structures."""
        if np.all(chosen):
            return self
        places = list(map(int, np.flatnonzero(chosen)))
        features, derivatives, search = None, self._derivatives, self._search
        if self.features is not None:
            parts = np.split(self.features, np.cumsum(self.sizes)[:-1])
            features = [parts[place] for place in places]
        return Chunk(
            [self.structures[place] for place in places],
            self.species,
            self.cutoff,
            self.least,
            features=features,
            widths=self.known_widths,
            derivatives=None if derivatives is None else lambda: _some(derivatives(), places),
            search=None if search is None else lambda n, s, cutoff: search(places[n], s, cutoff),
        )


def _some(values: Sequence[_T], places: Sequence[int]) -> list[_T]:
    return [values[place] for place in places]


def starts_of(counts: np.ndarray) -> np.ndarray:
    """The first atom of each species of each structure, where atoms are in a chunk's order."""
    ends = np.cumsum(counts.reshape(-1)).reshape(counts.shape)
    return (ends - counts).astype(np.int32)


class Columns(NamedTuple):
    """Pairs one after another, by atom and distance."""

    counts: Int[np.ndarray, " atoms"]
    """How many neighbours each atom has."""
    kinds: Int[np.ndarray, " pairs"]
    """The species of the neighbour."""
    within: Int[np.ndarray, " pairs"]
    """Its place among those of its species in its structure."""
    partners: Int[np.ndarray, " pairs"]
    """The place of the same pair among those of the neighbour."""

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """The atom of each pair, and the place among its neighbours."""
        return row_places(self.counts)


def columns_of(chunk: Chunk) -> Columns:
    """The pairs of a chunk; atoms are in the structures' order."""
    table = chunk.pairs
    second = table.second
    return Columns(
        table.counts, table.kinds[second], chunk.within[second], table.places[table.partners()]
    )


def indices(chunk: Chunk, columns: Columns, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of species and partners, of length `width`, in the order of the chunk.

    What has no place in rows of this length, on one side or the other, is its own partner.
    """
    kinds = np.repeat(chunk.kinds[:, None], width, axis=1)
    partners = (chunk.within[:, None] * width + np.arange(width)).astype(np.int32)
    first, places = columns.at
    inner = (places < width) & (columns.partners < width)
    kinds[first[inner], places[inner]] = columns.kinds[inner]
    partners[first[inner], places[inner]] = (columns.within * width + columns.partners)[inner]
    return kinds[chunk.order], partners[chunk.order]
