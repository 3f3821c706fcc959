"""A split of a data set, packed into arrays on the device, and batches gathered from it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.chebyshev import ChebyshevDescriptor, LocalDerivatives
from ritz.mlip.datasets import referenced
from ritz.mlip.derivatives import Environments
from ritz.mlip.pairs import PairTable, kinds_of
from ritz.mlip.ragged import ragged
from ritz.mlip.structure import Structure
from ritz.mlip.types import AnyArray


class Labels(NamedTuple):
    """What is known of each structure."""

    energy: Float[AnyArray, " structures"]
    """In eV, less the energies of the atoms."""
    weight: Float[AnyArray, " structures"]
    stress: Float[AnyArray, "structures 3 3"]
    """In eV/Angstrom^3; zero where it is not known."""
    volume: Float[AnyArray, " structures"]
    has_stress: Bool[AnyArray, " structures"]
    has_forces: Bool[AnyArray, " structures"]
    has_tables: Bool[AnyArray, " structures"]
    """For which structures forces and stress can be predicted."""


class Tables(NamedTuple):
    """Known derivatives of the features; the first axis is the atom."""

    local: LocalDerivatives
    kinds: Int[AnyArray, "atoms n_neighbors"]
    """The species of the neighbours; its own where there is none."""
    partners: Int[AnyArray, "atoms n_neighbors"]
    """Where the same pair is seen from the other side: atom * n_neighbors + place, with the atom
    counted from the first of its species in its structure; itself where there is no neighbour."""
    near_kinds: Int[AnyArray, "atoms n_near"]
    """The species of the first atoms that the next are counted from."""
    near_partners: Int[AnyArray, "atoms n_near"]
    """The same among the nearest; itself also where the other side has the pair further back."""


class Split(NamedTuple):
    """Structures as arrays; atoms are ordered by structure, and by species within it."""

    counts: Int[AnyArray, "structures n_species"]
    """How many atoms of each species a structure has."""
    starts: Int[AnyArray, "structures n_species"]
    """The first atom of each species."""
    labels: Labels
    features: Float[AnyArray, "atoms n_features"]
    """Normalised."""
    table_starts: Int[AnyArray, "structures n_species"]
    """The first atom of each species among those with tables."""
    forces: Float[AnyArray, "tabled_atoms 3"] | None
    tables: Tables | None


class Batch(NamedTuple):
    """Some structures of a split; atoms are ordered by species, and by structure within it."""

    ids: Int[AnyArray, " slots"]
    """The structure in each slot; -1 for none."""
    n_atoms: Float[AnyArray, " slots"]
    """How many atoms each has; 1 for none."""
    labels: Labels
    """Weights of empty slots are zero."""
    slot: Int[AnyArray, " atoms"]
    """The structure of each atom."""
    valid: Bool[AnyArray, " atoms"]
    features: Float[AnyArray, "atoms n_features"]
    forces: Float[AnyArray, "atoms 3"] | None
    environments: Environments | None


def gather(
    split: Split,
    ids: Int[Array, " slots"],
    capacities: Sequence[int],
    with_forces: bool,
    with_stress: bool,
    species_weights: Any,
) -> Batch:
    """The structures `ids` of a split.

    Args:
        split: Where they are from.
        ids: Which structures; -1 for none.
        capacities: How many atoms of each species there is room for.
        with_forces: Whether forces are asked for.
        with_stress: Whether stress is asked for besides.
        species_weights: The descriptor's weights of the species.
    """
    there = ids >= 0
    at = jnp.maximum(ids, 0)
    counts = jnp.where(there[:, None], split.counts[at], 0)
    places = [ragged(counts[:, kind], capacity) for kind, capacity in enumerate(capacities)]
    slot = jnp.concatenate([place.slot for place in places])
    valid = jnp.concatenate([place.valid for place in places])

    def rows(starts: Any) -> Any:
        found = [starts[at[p.slot], kind] + p.within for kind, p in enumerate(places)]
        return jnp.where(valid, jnp.concatenate(found), 0)

    labels = jax.tree.map(lambda label: label[at], split.labels)
    labels = labels._replace(weight=jnp.where(there, labels.weight, 0))
    n_atoms = jnp.maximum(jnp.sum(counts, axis=-1), 1).astype(labels.energy.dtype)
    forces, environments = None, None
    if with_forces:
        assert split.tables is not None and split.forces is not None
        atoms = rows(split.table_starts)
        forces = split.forces[atoms]
        tables = split.tables
        if not with_stress:
            tables = tables._replace(local=tables.local._replace(distances=None))
        tables = jax.tree.map(lambda table: table[atoms], tables)
        firsts = np.cumsum([0, *capacities[:-1]])
        begins = [first + place.begins for first, place in zip(firsts, places, strict=True)]
        environments = _environments(tables, [begin[slot] for begin in begins], species_weights)
    return Batch(
        ids, n_atoms, labels, slot, valid, split.features[rows(split.starts)], forces, environments
    )


def _environments(tables: Tables, begins: list[Any], species_weights: Any) -> Environments:
    """Tables of a batch; `begins` has for each species where that of each atom's structure begins.

    Species are told apart by selection, since a lookup for each pair takes longer.
    """
    dtype = tables.local.slopes.dtype
    width, near = tables.partners.shape[1], tables.near_partners.shape[1]

    def by_kind(kinds: Any, values: list[Any]) -> Any:
        found = values[0]
        for kind, value in enumerate(values[1:], start=1):
            found = jnp.where(kinds == kind, value, found)
        return found

    kinds = tables.kinds
    first = by_kind(kinds, [begin[:, None] for begin in begins])
    near_first = by_kind(tables.near_kinds, [begin[:, None] for begin in begins])
    weights = by_kind(kinds, [jnp.asarray(s, dtype) for s in species_weights])
    return Environments(
        tables.local, jnp.broadcast_to(weights, kinds.shape),
        tables.partners + first * width, tables.near_partners + near_first * near,
    )  # fmt: skip


# On the host.


def pack(
    structures: Sequence[Structure],
    descriptor: ChebyshevDescriptor,
    atomic_energies: Mapping[str, float],
    tabled: Any,
    dtype: str,
    features: Sequence[np.ndarray] | None = None,
) -> Split:
    """Featurise structures and pack them, into arrays of NumPy and with features as they are.

    Args:
        structures: The structures.
        descriptor: The descriptor.
        atomic_energies: What is taken off the energies for each atom, in eV.
        tabled: For which structures forces will be asked.
        dtype: Of the derivatives.
        features: By structure, where they are known already.
    """
    tabled = np.asarray(tabled, bool)
    sizes = np.array([len(structure) for structure in structures])
    kinds = [kinds_of(s, descriptor.species, place) for place, s in enumerate(structures)]
    order, counts, starts = _by_species(sizes, np.concatenate(kinds), len(descriptor.species))
    labels = Labels(
        np.array([referenced(s, atomic_energies) for s in structures]),
        np.array([s.weight for s in structures]),
        np.array([np.zeros((3, 3)) if s.stress is None else s.stress for s in structures]),
        np.array([s.volume for s in structures]),
        np.array([s.stress is not None for s in structures]),
        np.array([s.forces is not None for s in structures]),
        tabled,
    )
    table = None
    if features is None:
        table = descriptor.pair_table(structures)
        found = descriptor.features_of(table)[order]
    else:
        found = np.concatenate(features)[order]
    table_starts, forces, tables = np.zeros_like(starts), None, None
    if np.any(tabled):
        chosen = [s for s, wanted in zip(structures, tabled, strict=True) if wanted]
        own = descriptor.pair_table(chosen) if table is None or not np.all(tabled) else table
        own_order, _, table_starts[tabled] = _by_species(
            own.sizes, own.kinds, len(descriptor.species)
        )
        forces = np.concatenate([_forces(s) for s in chosen])[own_order]
        tables = _tables(own, descriptor, own_order, dtype)
    return Split(counts, starts, labels, found, table_starts, forces, tables)


def _forces(structure: Structure) -> np.ndarray:
    if structure.forces is None:
        return np.zeros((len(structure), 3))
    return np.asarray(structure.forces)


def _by_species(
    sizes: np.ndarray, kinds: np.ndarray, n_species: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms by structure and species, and counts and first atoms of each."""
    structure = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((np.arange(len(kinds)), kinds, structure))
    counts = np.zeros((len(sizes), n_species), np.int32)
    np.add.at(counts, (structure, kinds), 1)
    ends = np.cumsum(counts.reshape(-1)).reshape(counts.shape)
    return order, counts, (ends - counts).astype(np.int32)


def _tables(
    table: PairTable, descriptor: ChebyshevDescriptor, order: np.ndarray, dtype: str
) -> Tables:
    width, near = table.width(), table.width(descriptor.ang_cutoff)
    n = table.n_atoms
    local: Any = None
    for atoms, block in descriptor.local_derivatives_of(table):
        if local is None:
            local = jax.tree.map(lambda part: np.empty((n, *part.shape[1:]), dtype), block)
        for whole, part in zip(*map(jax.tree.leaves, (local, block)), strict=True):
            whole[atoms] = part
    rank = np.empty(n, int)
    rank[order] = np.arange(n)
    structure = np.repeat(np.arange(len(table.sizes)), table.sizes)
    group = structure * len(descriptor.species) + table.kinds
    firsts = np.full(group.max() + 1, n)
    np.minimum.at(firsts, group, rank)
    within = rank - firsts[group]  # among those of its species in its structure
    first, places, partners = table.first, table.places, table.partners()
    kinds = np.repeat(table.kinds[:, None], width, axis=1)
    near_kinds = kinds[:, :near].copy()
    kinds[first, places] = table.kinds[table.second]
    whole = _themselves(within, width)
    whole[first, places] = within[table.second] * width + places[partners]
    close = _themselves(within, near)
    inner = (places < near) & (places[partners] < near)
    near_kinds[first[inner], places[inner]] = table.kinds[table.second[inner]]
    close[first[inner], places[inner]] = (within[table.second] * near + places[partners])[inner]
    local = jax.tree.map(lambda part: part[order], local)
    return Tables(local, kinds[order], whole[order], near_kinds[order], close[order])


def _themselves(within: np.ndarray, width: int) -> np.ndarray:
    """Places as partners of themselves, where there is no neighbour."""
    return (within[:, None] * width + np.arange(width)).astype(np.int32)
