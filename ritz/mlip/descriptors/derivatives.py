"""Derivatives of features: packed for the device or for files, and the forces that follow."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ritz.mlip.arrays import AnyArray
from ritz.mlip.descriptors.chunk import Chunk, Columns, columns_of, indices
from ritz.mlip.descriptors.featurizing import local_derivatives_of
from ritz.mlip.descriptors.pairs import by_kind, partners_in_batch, with_partners


class LocalDerivatives(NamedTuple):
    """How features change when neighbours move, by what they depend on; linear maps, factorised.

    The energy's derivative by the vector to neighbour k, with g the derivatives by the features
    of the atom, is `u_k sum_n slopes[n, k] (g_R[n] + s_k g_Rw[n])`, and for the nearest, which are
    in reach of the angular part, `sum_m angular[m, :, k] g_A[m]` besides.
    """

    slopes: Float[AnyArray, "atoms rad_order+1 n_neighbors"]
    """Derivatives of the radial basis by the distance."""
    units: Float[AnyArray, "atoms 3 n_neighbors"]
    """Unit vectors to the neighbours."""
    angular: Float[AnyArray, "atoms n_angular 3 n_near"]
    """Derivatives of the angular features."""
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


class Environments(NamedTuple):
    """What forces on atoms need of their neighbours; the first axis is the atom."""

    local: LocalDerivatives
    weights: Float[AnyArray, "atoms n_neighbors"]
    """The weights s of the neighbours' species."""
    partners: Int[AnyArray, "atoms n_neighbors"]
    """Where the same pair is seen from the other side, in the flattened array."""
    near_partners: Int[AnyArray, "atoms n_near"]
    """The same among the nearest."""


def tables_of(
    descriptor: Any, chunk: Chunk, widths: Sequence[int], dtype: str, stress: bool
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


def _computed(descriptor: Any, chunk: Chunk, width: int, near: int, dtype: str) -> LocalDerivatives:
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
    descriptor: Any,
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


def pair_derivatives(descriptor: Any, chunk: Chunk) -> list[dict[str, np.ndarray]]:
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


def forces(
    descriptor: Any,
    by_feature: Float[Array, "atoms n_features"],
    environments: Environments,
) -> tuple[Float[Array, "atoms 3"], Float[Array, "atoms 3 3"] | None]:
    """The forces on atoms and their shares of the virial, from the slopes of the energy.

    Args:
        descriptor: The descriptor.
        by_feature: Derivatives of the energy by the features.
        environments: Derivatives of the features; with distances for the virial.

    With p_ij the derivative by the vector from i to j, the force on i is sum_j p_ij - p_ji. The
    radial part of p_ij is along the unit vector, and that of p_ji against it.
    """
    local, weights, partners, near_partners = environments
    radial, angular, radial_w, angular_w = (by_feature[:, part] for part in descriptor.parts)
    pull = jnp.einsum("ank,an->ak", local.slopes, radial)
    if descriptor.is_weighted:
        pull += weights * jnp.einsum("ank,an->ak", local.slopes, radial_w)
        angular = jnp.concatenate([angular, angular_w], axis=-1)
    both = with_partners(pull, partners)
    along = jnp.einsum("axk,ak->ax", local.units, both)
    n_atoms, n_angular, _, near = local.angular.shape
    push = jnp.einsum("amp,am->ap", local.angular.reshape(n_atoms, n_angular, -1), angular)
    push = push.reshape(n_atoms, 3, near)
    across = [jnp.sum(with_partners(push[:, x], near_partners, -1), axis=-1) for x in range(3)]
    return along + jnp.stack(across, axis=-1), _virial(local, pull, push)


def _virial(local: LocalDerivatives, pull: Any, push: Any) -> Any:
    """The sum over neighbours of p_ij times the vector to j, made symmetric."""
    if local.distances is None:
        return None
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
    descriptor: Any, values: np.ndarray, indices: np.ndarray, n_atoms: int
) -> dict[str, np.ndarray]:
    """What `pair_derivatives` has given for a structure, from what `packed_derivatives` makes."""
    n_angular = (descriptor.ang_order + 1) * (1 + descriptor.is_weighted)
    n_pairs = int(indices[:n_atoms].sum())
    n_near = int(indices[n_atoms : 2 * n_atoms].sum())
    cuts = [n_atoms, 2 * n_atoms, *(2 * n_atoms + n_pairs * n for n in (1, 2))]
    found: dict[str, np.ndarray] = dict(
        zip((*_BY_ATOM, *_BY_PAIR), np.split(indices, cuts), strict=True)
    )
    shapes = [
        (n_pairs, descriptor.rad_order + 1), (n_pairs, 3), (n_pairs,), (n_near, n_angular, 3),
    ]  # fmt: skip
    parts = np.split(values, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    for name, part, shape in zip(_REAL, parts, shapes, strict=True):
        found[name] = part.reshape(shape)
    return found
