"""Derivatives of features: packed for the device or for files, and the forces that follow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ritz.mlip.arrays import AnyArray
from ritz.mlip.descriptors.chunk import Chunk, Columns, columns_of, indices
from ritz.mlip.descriptors.featurizing import local_derivatives_of
from ritz.mlip.descriptors.pairs import partners_in_batch, with_partners

if TYPE_CHECKING:
    from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor


class LocalDerivatives(NamedTuple):
    """How features change when neighbours move: derivatives by distances and vectors.

    `AbstractDescriptor.pullback` multiplies them with derivatives by the features.
    """

    slopes: Float[AnyArray, "atoms n_radial n_neighbors"]
    """Derivatives of functions of the distance."""
    units: Float[AnyArray, "atoms 3 n_neighbors"]
    """Unit vectors to the neighbours."""
    angular: Float[AnyArray, "atoms n_angular 3 n_near"]
    """Derivatives of other features by the vectors to the nearest neighbours."""
    distances: Float[AnyArray, "atoms n_neighbors"] | None
    """To the neighbours; None where stress is not asked for."""


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


def tables_of(
    descriptor: "AbstractDescriptor", chunk: Chunk, widths: Sequence[int], dtype: str, stress: bool
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
    descriptor: "AbstractDescriptor", chunk: Chunk, width: int, near: int, dtype: str
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
    descriptor: "AbstractDescriptor",
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
        np.zeros((n_atoms, descriptor.n_radial, width), dtype),
        np.zeros((n_atoms, 3, width), dtype),
        np.zeros((n_atoms, n_angular, 3, near), dtype),
        np.ones((n_atoms, width), dtype),
    )
    first, places = columns.at
    inner = places < np.repeat(joined["near"], columns.counts)
    assert local.distances is not None
    local.slopes[first, :, places] = joined["slopes"]
    local.units[first, :, places] = joined["units"]
    local.distances[first, places] = joined["distances"]
    local.angular[first[inner], :, :, places[inner]] = joined["angular"]
    return columns, local


def pair_derivatives(descriptor: "AbstractDescriptor", chunk: Chunk) -> list[dict[str, np.ndarray]]:
    """Derivatives of the features of a chunk, without empty places; by structure.

    `counts` and `near` have an entry for each atom, `angular` one for each pair within
    `near_cutoff`, and the others one for each pair; atoms are in the structures' order.
    """
    table, columns = chunk.pairs, columns_of(chunk)
    width, near = table.width(), table.width(descriptor.near_cutoff)
    local = _computed(descriptor, chunk, width, near, descriptor.dtype)
    first, places = columns.at
    close = table.distances <= descriptor.near_cutoff
    n_near = np.bincount(first[close], minlength=chunk.n_atoms)
    assert local.distances is not None
    ends = np.cumsum(chunk.sizes)[:-1]
    pair_ends, near_ends = (np.cumsum(counts)[ends - 1] for counts in (columns.counts, n_near))
    by_atom = {"counts": columns.counts, "near": n_near}
    by_pair = {
        "kinds": columns.kinds.astype(np.int8),
        "within": columns.within.astype(np.int32),
        "partners": columns.partners.astype(np.int32),
        "slopes": local.slopes[first, :, places],
        "units": local.units[first, :, places],
        "distances": local.distances[first, places],
    }
    by_near = {"angular": local.angular[first[close], :, :, places[close]]}
    parts = {
        name: np.split(values, cuts)
        for columns_, cuts in ((by_atom, ends), (by_pair, pair_ends), (by_near, near_ends))
        for name, values in columns_.items()
    }
    return [{name: part[n] for name, part in parts.items()} for n in range(len(chunk.sizes))]


def forces(
    descriptor: "AbstractDescriptor",
    by_feature: Float[Array, "atoms n_features"],
    tables: Tables,
    begins: Sequence[Int[AnyArray, " atoms"]],
    with_stress: bool,
) -> tuple[Float[Array, "atoms 3"], Float[Array, "atoms 3 3"] | None]:
    """The forces on atoms and their shares of the virial, see `AbstractDescriptor.forces`.

    With p_ij the derivative by the vector from i to j, the force on i is sum_j p_ij - p_ji. The
    radial part of p_ij is along the unit vector, and that of p_ji against it.
    """
    local = tables.local
    partners = partners_in_batch(tables.kinds, tables.partners, begins)
    near_partners = partners_in_batch(tables.near_kinds, tables.near_partners, begins)
    pull, push = descriptor.pullback(by_feature, local, tables.kinds)
    both = with_partners(pull, partners)
    along = jnp.einsum("axk,ak->ax", local.units, both)
    across = [jnp.sum(with_partners(push[:, x], near_partners, -1), axis=-1) for x in range(3)]
    virial = _virial(local, pull, push) if with_stress else None
    return along + jnp.stack(across, axis=-1), virial


def _virial(
    local: LocalDerivatives,
    pull: Float[AnyArray, "atoms n_neighbors"],
    push: Float[AnyArray, "atoms 3 n_near"],
) -> Float[Array, "atoms 3 3"]:
    """The sum over neighbours of p_ij times the vector to j, made symmetric."""
    assert local.distances is not None
    vectors = local.units * local.distances[:, None]
    near = push.shape[-1]
    found = jnp.einsum("axk,ayk->axy", local.units * pull[:, None], vectors)
    found += jnp.einsum("axk,ayk->axy", push, vectors[..., :near])
    return (found + jnp.swapaxes(found, -1, -2)) / 2


_BY_ATOM = ("counts", "near")
_BY_PAIR = ("kinds", "within", "partners")
_REAL = ("slopes", "units", "distances", "angular")


def packed_derivatives(own: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What `pair_derivatives` gives for a structure, as real numbers and as integers in a row."""
    values = np.concatenate([own[name].ravel() for name in _REAL])
    indices = np.concatenate([own[name] for name in (*_BY_ATOM, *_BY_PAIR)])
    return values, indices.astype(np.int32)


def unpacked_derivatives(
    descriptor: "AbstractDescriptor", values: np.ndarray, indices: np.ndarray, n_atoms: int
) -> dict[str, np.ndarray]:
    """What `pair_derivatives` has given for a structure, from what `packed_derivatives` makes."""
    n_angular = descriptor.n_angular
    n_pairs = int(indices[:n_atoms].sum())
    n_near = int(indices[n_atoms : 2 * n_atoms].sum())
    cuts = [n_atoms, 2 * n_atoms, *(2 * n_atoms + n_pairs * n for n in (1, 2))]
    found: dict[str, np.ndarray] = dict(
        zip((*_BY_ATOM, *_BY_PAIR), np.split(indices, cuts), strict=True)
    )
    shapes = [
        (n_pairs, descriptor.n_radial),
        (n_pairs, 3),
        (n_pairs,),
        (n_near, n_angular, 3),
    ]
    parts = np.split(values, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    for name, part, shape in zip(_REAL, parts, shapes, strict=True):
        found[name] = part.reshape(shape)
    return found
