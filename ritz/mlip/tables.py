"""Derivatives of features that are computed once, packed for the device or for files."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from ritz.mlip.chebyshev import ChebyshevDescriptor, LocalDerivatives
from ritz.mlip.chunk import Chunk
from ritz.mlip.derivatives import Environments
from ritz.mlip.featurizing import local_derivatives_of
from ritz.mlip.types import AnyArray


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
        starts = np.cumsum(self.counts) - self.counts
        first = np.repeat(np.arange(len(self.counts)), self.counts)
        return first, np.arange(len(self.kinds)) - starts[first]


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


def tables_of(
    descriptor: ChebyshevDescriptor, chunk: Chunk, widths: Sequence[int], dtype: str, stress: bool
) -> Tables:
    """The tables of a chunk, from what is known, or computed."""
    width, near = widths
    if chunk.derivatives is None:
        columns, local = columns_of(chunk), _computed(descriptor, chunk, width, near, dtype)
    else:
        columns, local = _known(descriptor, chunk.derivatives, width, near, dtype)
    if not stress:
        local = local._replace(distances=None)
    local = jax.tree.map(lambda part: part[chunk.order], local)
    return Tables(local, *indices(chunk, columns, width), *indices(chunk, columns, near))


def _computed(
    descriptor: ChebyshevDescriptor, chunk: Chunk, width: int, near: int, dtype: str
) -> LocalDerivatives:
    local: Any = None
    for atoms, block in local_derivatives_of(descriptor, chunk.pairs, width, near):
        if local is None:
            local = jax.tree.map(
                lambda part: np.empty((chunk.n_atoms, *part.shape[1:]), dtype), block
            )
        for whole, part in zip(*map(jax.tree.leaves, (local, block)), strict=True):
            whole[atoms] = part
    return local


def _known(
    descriptor: ChebyshevDescriptor,
    derivatives: Sequence[Mapping[str, np.ndarray]],
    width: int,
    near: int,
    dtype: str,
) -> tuple[Columns, LocalDerivatives]:
    """Rows from what `pair_derivatives` has given for each structure."""
    joined = {name: np.concatenate([own[name] for own in derivatives]) for name in derivatives[0]}
    columns = Columns(*(joined[name] for name in Columns._fields))
    n_atoms, n_angular = len(columns.counts), joined["angular"].shape[1]
    local = LocalDerivatives(
        np.zeros((n_atoms, descriptor.rad_order + 1, width), dtype),
        np.zeros((n_atoms, 3, width), dtype),
        np.zeros((n_atoms, n_angular, 3, near), dtype), np.ones((n_atoms, width), dtype),
    )  # fmt: skip
    first, places = columns.at
    inner = places < np.repeat(joined["near"], columns.counts)
    assert local.distances is not None
    local.slopes[first, :, places] = joined["slopes"]
    local.units[first, :, places] = joined["units"]
    local.distances[first, places] = joined["distances"]
    local.angular[first[inner], :, :, places[inner]] = joined["angular"]
    return columns, local


def pair_derivatives(descriptor: ChebyshevDescriptor, chunk: Chunk) -> list[dict[str, np.ndarray]]:
    """Derivatives of the features of a chunk, without empty places; by structure.

    `counts` and `near` have an entry for each atom, `angular` one for each pair within the angular
    cutoff, and the others one for each pair; atoms are in the structures' order.
    """
    table, columns = chunk.pairs, columns_of(chunk)
    width, near = table.width(), table.width(descriptor.ang_cutoff)
    local = _computed(descriptor, chunk, width, near, descriptor.dtype)
    first, places = columns.at
    close = table.distances <= descriptor.ang_cutoff
    n_near = np.bincount(first[close], minlength=chunk.n_atoms)
    assert local.distances is not None
    ends = np.cumsum(chunk.sizes)[:-1]
    pair_ends, near_ends = (np.cumsum(counts)[ends - 1] for counts in (columns.counts, n_near))
    by_atom = {"counts": columns.counts, "near": n_near}
    by_pair = {
        "kinds": columns.kinds.astype(np.int8), "within": columns.within.astype(np.int32),
        "partners": columns.partners.astype(np.int32),
        "slopes": local.slopes[first, :, places], "units": local.units[first, :, places],
        "distances": local.distances[first, places],
    }  # fmt: skip
    by_near = {"angular": local.angular[first[close], :, :, places[close]]}
    parts = {
        name: np.split(values, cuts)
        for columns_, cuts in ((by_atom, ends), (by_pair, pair_ends), (by_near, near_ends))
        for name, values in columns_.items()
    }
    return [{name: part[n] for name, part in parts.items()} for n in range(len(chunk.sizes))]


def environments(tables: Tables, begins: Sequence[Any], species_weights: Any) -> Environments:
    """Tables of a batch; `begins` has for each species where that of each atom's structure begins.

    Species are told apart by selection, since a lookup for each pair takes longer.
    """
    dtype = tables.local.slopes.dtype
    weights = by_kind(tables.kinds, [jnp.asarray(s, dtype) for s in species_weights])
    return Environments(
        tables.local, jnp.broadcast_to(weights, tables.kinds.shape),
        partners_in_batch(tables.kinds, tables.partners, begins),
        partners_in_batch(tables.near_kinds, tables.near_partners, begins),
    )  # fmt: skip


def partners_in_batch(kinds: Any, partners: Any, begins: Sequence[Any]) -> Any:
    """Partners counted from the first atom of the batch."""
    return partners + by_kind(kinds, [begin[:, None] for begin in begins]) * partners.shape[1]


def by_kind(kinds: Any, values: Sequence[Any]) -> Any:
    """The value of each one's species."""
    found = values[0]
    for kind, value in enumerate(values[1:], start=1):
        found = jnp.where(kinds == kind, value, found)
    return found
