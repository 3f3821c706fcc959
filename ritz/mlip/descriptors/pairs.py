"""Neighbour pairs of many structures, as arrays."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.arrays import AnyArray
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.data.structure import Structure
from ritz.potentials.pairs import padded_width, pairs_on_host, row_places

AT_ONE_PLACE = 0.01
"""Pairs this close, in Angstrom, are told of whatever the smallest distance is."""


class Rows(NamedTuple):
    """The neighbours of atoms, nearest first, in rows of one length."""

    vectors: Float[np.ndarray, "atoms width 3"]
    pairs: Bool[np.ndarray, "atoms width"]
    """Which entries hold a neighbour."""
    kinds: Int[np.ndarray, "atoms width"]
    """The species of the neighbours."""
    centres: Int[np.ndarray, " atoms"]
    """The species of the atoms."""


class Dropped(NamedTuple):
    """Two atoms of a structure that are closer than pairs may be."""

    first: int
    second: int
    distance: float
    """In Angstrom."""


@dataclasses.dataclass(frozen=True)
class PairTable:
    """All pairs of atoms within a cutoff, in many structures; each appears from both sides.

    Atoms are counted through all structures, pairs are ordered by atom and distance.
    """

    sizes: Int[np.ndarray, " structures"]
    kinds: Int[np.ndarray, " atoms"]
    """The species of each atom, by its place among those that were given."""
    counts: Int[np.ndarray, " atoms"]
    """How many neighbours each atom has."""
    second: Int[np.ndarray, " pairs"]
    """The neighbour."""
    vectors: Float[np.ndarray, "pairs 3"]
    distances: Float[np.ndarray, " pairs"]
    shifts: Int[np.ndarray, "pairs 3"]
    dropped: Mapping[int, Dropped] = dataclasses.field(default_factory=dict)
    """The closest pair that was left out, of each structure that has one, by its place."""

    @property
    def n_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.kinds)

    @property
    def first(self) -> Int[np.ndarray, " pairs"]:
        """The atom of each pair."""
        return row_places(self.counts)[0]

    @property
    def places(self) -> Int[np.ndarray, " pairs"]:
        """The place of each pair among those of its atom."""
        return row_places(self.counts)[1]

    def width(self, cutoff: float | None = None) -> int:
        """The length of rows that hold all neighbours, or those within `cutoff`."""
        if cutoff is None:
            most = self.counts.max(initial=0)
        else:
            near = self.first[self.distances <= cutoff]
            most = np.bincount(near, minlength=1).max(initial=0)
        return padded_width(max(1, most))

    def partners(self) -> Int[np.ndarray, " pairs"]:
        """Where the same pair is seen from the other side."""
        forth = np.lexsort((*self.shifts.T, self.second, self.first))
        back = np.lexsort((*-self.shifts.T, self.first, self.second))
        found = np.empty(len(forth), int)
        found[forth] = back
        return found

    def rows(self, start: int, stop: int, width: int, n_rows: int | None = None) -> Rows:
        """The neighbours of the atoms from `start` to `stop`, in `n_rows` rows if that is more."""
        n_rows = stop - start if n_rows is None else n_rows
        bounds = np.concatenate([[0], np.cumsum(self.counts)])[[start, stop]]
        chosen = slice(*bounds)
        at = self.first[chosen] - start, self.places[chosen]
        found = Rows(
            np.zeros((n_rows, width, 3)),
            np.zeros((n_rows, width), bool),
            np.zeros((n_rows, width), np.int8),
            np.zeros(n_rows, np.int8),
        )
        found.vectors[at] = self.vectors[chosen]
        found.pairs[at] = True
        found.kinds[at] = self.kinds[self.second[chosen]]
        found.centres[: stop - start] = self.kinds[start:stop]
        return found


PairArrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The pairs of a structure: first atoms, second atoms, and shifts by lattice vectors."""


def find_pairs(structure: Structure, cutoff: float) -> PairArrays:
    """All pairs of a structure that are at most `cutoff` apart."""
    positions, pbc = np.asarray(structure.positions), np.asarray(structure.pbc)
    return pairs_on_host(positions, structure.box, pbc, cutoff)


def pair_table(
    structures: Sequence[Structure],
    kinds: np.ndarray,
    cutoff: float,
    least: float = 0.0,
    pairs: Sequence[PairArrays] | None = None,
) -> PairTable:
    """All pairs of the structures that are at most `cutoff` and at least `least` apart.

    Args:
        structures: The structures.
        kinds: The species of all atoms.
        cutoff: In Angstrom.
        least: In Angstrom.
        pairs: What `find_pairs` gives for each structure, if it is known.
    """
    sizes = np.array([len(structure) for structure in structures], int)
    if pairs is None:
        pairs = [find_pairs(structure, cutoff) for structure in structures]
    columns: list[list[np.ndarray]] = [[], [], [], []]
    begin, dropped = 0, {}
    for place, (structure, (first, second, shifts)) in enumerate(
        zip(structures, pairs, strict=True)
    ):
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        for column, values in zip(
            columns, (first + begin, second + begin, shifts, vectors), strict=True
        ):
            column.append(values)
        pair = closest_dropped(first, second, np.sqrt(np.sum(vectors**2, axis=1)), least)
        if pair is not None:
            dropped[place] = pair
        begin += len(structure)
    first, second, shifts, vectors = (np.concatenate(column) for column in columns)
    distances = np.sqrt(np.sum(vectors**2, axis=1))
    kept = np.flatnonzero(distances >= least)
    order = kept[np.lexsort((distances[kept], first[kept]))]
    return PairTable(
        sizes=sizes,
        kinds=kinds,
        counts=np.bincount(first[kept], minlength=begin),
        second=second[order],
        vectors=vectors[order],
        distances=distances[order],
        shifts=shifts[order],
        dropped=dropped,
    )


def closest_dropped(
    first: np.ndarray, second: np.ndarray, distances: np.ndarray, least: float
) -> Dropped | None:
    """The closest of some pairs if it is too close, or all but at one place; otherwise None."""
    if not len(distances):
        return None
    place = int(np.argmin(distances))
    if distances[place] >= max(least, AT_ONE_PLACE):
        return None
    a, b = sorted((int(first[place]), int(second[place])))
    return Dropped(a, b, float(distances[place]))


def kinds_of(structure: Structure, species: Sequence[str], place: int) -> np.ndarray:
    """The place of each atom's species among `species`.

    Raises:
        ValueError: If there is another species; the structure is named.
    """
    known = {symbol: kind for kind, symbol in enumerate(species)}
    others = sorted(set(structure.species) - set(known))
    if others:
        raise ValueError(
            f"structure {structure.name or place} has atoms of {', '.join(others)}, but the "
            f"descriptor was made for species {list(species)}."
        )
    return np.array([known[symbol] for symbol in structure.species], np.int8)


def with_partners(
    values: Float[AnyArray, "atoms n_neighbors"],
    partners: Int[AnyArray, "atoms n_neighbors"],
    sign: int = 1,
) -> Float[Array, "atoms n_neighbors"]:
    """`values + sign * values[partners]`, both of the shape of `partners`.

    Partners of partners are where one began, so that the map is its own transpose.
    """

    @jax.custom_vjp
    def both(values: Array) -> Array:
        other = values.reshape(-1)[partners]
        return values + other if sign > 0 else values - other

    both.defvjp(lambda values: (both(values), None), lambda _, slope: (both(slope),))
    return both(values)


def partners_in_batch(
    kinds: Int[AnyArray, "atoms n_neighbors"],
    partners: Int[AnyArray, "atoms n_neighbors"],
    begins: Sequence[Int[AnyArray, " atoms"]],
) -> Int[AnyArray, "atoms n_neighbors"]:
    """Partners counted from the first atom of the batch."""
    return partners + by_kind(kinds, [begin[:, None] for begin in begins]) * partners.shape[1]


def by_kind(kinds: AnyArray, values: Sequence[AnyArray]) -> AnyArray:
    """The value of each one's species."""
    found = values[0]
    for kind, value in enumerate(values[1:], start=1):
        found = jnp.where(kinds == kind, value, found)
    return found


_LOOKED_AT = 100
"""The number of structures that a usual distance is taken from."""


def nearest_distance(structures: StructuresLike, cutoff: float = 6.0) -> float:
    """A usual distance of nearest neighbours: the median over atoms, in Angstrom.

    Args:
        structures: `Structure` or `ase.Atoms`; of many, a hundred that are spread among them.
        cutoff: Farther neighbours are not looked for; without any it is returned.
    """
    listed = as_structures(structures)
    chosen = np.unique(np.linspace(0, len(listed) - 1, _LOOKED_AT).astype(int))
    found = []
    for place in chosen:
        structure = listed[place]
        first, second, shifts = find_pairs(structure, cutoff)
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        least = np.full(len(structure), cutoff)
        np.minimum.at(least, first, np.sqrt(np.sum(vectors**2, axis=1)))
        found.append(least)
    return float(np.median(np.concatenate(found)))
