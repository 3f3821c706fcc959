"""The functions G4 and G5 of many atoms, and their derivatives.

Each pair of neighbours is evaluated for the functions of its two elements alone, and what these
have in common is computed once, see `pair_tiles`. Atoms are taken in blocks with the same
functions; the length of all loops depends on the neighbours that there are, not on the length of
rows, so that nothing is left out and long rows with few neighbours within reach cost little.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.descriptors.pair_tiles import (
    AngularTerm,
    CentreGroup,
    ElementPair,
    PairTiles,
    Rows,
    Terms,
)


class AngularSums(NamedTuple):
    """The G4 and G5 of all elements; hashable."""

    groups: tuple[CentreGroup, ...]
    n_columns: int
    """The most functions of any central element."""


Function = tuple[int, int, AngularTerm]
"""A G4 or G5 with the places of the elements of its neighbours."""


def angular_sums(lists: Sequence[Sequence[Function]], cutoff_function: str) -> AngularSums:
    """Put together what can be computed together.

    Args:
        lists: The functions by the element of the central atom, in the order of columns.
        cutoff_function: The name of f_c, see `CUTOFFS`.
    """
    centres: dict[tuple[Function, ...], list[int]] = {}
    for centre, functions in enumerate(lists):
        if functions:
            centres.setdefault(tuple(functions), []).append(centre)
    groups = (
        CentreGroup(
            tuple(places), _reach(functions, len(lists)), _terms(functions), cutoff_function
        )
        for functions, places in centres.items()
    )
    return AngularSums(tuple(groups), max(map(len, lists), default=0))


def _reach(functions: Sequence[Function], n_elements: int) -> tuple[float, ...]:
    reach = [0.0] * n_elements
    for first, second, term in functions:
        for element in (first, second):
            reach[element] = max(reach[element], term.r_c)
    return tuple(reach)


def _terms(functions: Sequence[Function]) -> tuple[tuple[Terms, tuple[ElementPair, ...]], ...]:
    by_pair: dict[tuple[int, int], list[tuple[AngularTerm, int]]] = {}
    for column, (first, second, term) in enumerate(functions):
        pair = min(first, second), max(first, second)
        by_pair.setdefault(pair, []).append((term, column))
    by_terms: dict[Terms, list[ElementPair]] = {}
    for (first, second), several in by_pair.items():
        terms, columns = zip(*sorted(several), strict=True)
        by_terms.setdefault(terms, []).append(ElementPair(first, second, columns))
    return tuple((terms, tuple(pairs)) for terms, pairs in by_terms.items())


class _Plan(NamedTuple):
    """How much is computed at once."""

    block: int
    """Atoms."""
    tile: int
    """Neighbours."""
    stores: bool
    """Whether the parts of sums are stored, see `PairTiles`."""


_CPU = _Plan(block=32, tile=8, stores=True)
"""Tiles of 8 x 8 x 32 numbers stay in the cache of a core."""

_OTHERS = _Plan(block=1024, tile=16, stores=False)
"""GPUs take as long for small arrays as for larger ones."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def values(
    sums: AngularSums,
    vectors: Float[Array, "atoms n_neighbors 3"],
    pairs: Bool[Array, "atoms n_neighbors"],
    kinds: Int[Array, "atoms n_neighbors"],
    centres: Int[Array, " atoms"],
) -> Float[Array, "atoms n_columns"]:
    """Values of the angular functions of all atoms; neighbours may be in any order.

    JAX differentiates them in reverse mode, and their derivatives in forward mode.
    """
    return _forward(sums, vectors, pairs, kinds, centres)[0]


def _forward(sums: AngularSums, *rows: Array) -> tuple[Array, tuple[Array, ...]]:
    return _batched(functools.partial(_on_platform, _values, sums))(*rows), rows


def _backward(
    sums: AngularSums, rows: tuple[Array, ...], by_value: Array
) -> tuple[Array, None, None, None]:
    slopes = _batched(functools.partial(_on_platform, _slopes, sums))(*rows, by_value[:, None])
    return slopes[:, 0], None, None, None


values.defvjp(_forward, _backward)


def derivatives(
    sums: AngularSums, vectors: Array, pairs: Array, kinds: Array, centres: Array
) -> Float[Array, "atoms n_columns n_neighbors 3"]:
    """The derivatives of `values` by the vectors; arguments as there."""
    return _on_platform(_slopes, sums, vectors, pairs, kinds, centres)


def _on_platform(function: Callable[..., Array], sums: AngularSums, *arrays: Array) -> Array:
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    platform = getattr(device, "platform", device) or jax.default_backend()
    plan = _CPU if platform == "cpu" else _OTHERS
    vectors, *others = map(jnp.asarray, arrays)
    if vectors.shape[1] == 0:  # one empty place, for loops that take some at a time
        vectors = jnp.zeros((len(vectors), 1, 3), vectors.dtype)
        others[:2] = (jnp.zeros(vectors.shape[:2], x.dtype) for x in others[:2])
        found = function(sums, plan, vectors, *others)
        return found if found.ndim == 2 else found[..., :0, :]
    return function(sums, plan, vectors, *others)


def _batched(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function, made to take the atoms of a batch of structures as those of one.

    Otherwise `jax.vmap` would make its loops as long as the longest of all, with selections.
    """

    @custom_vmap
    def call(*arrays: Array) -> Array:
        return function(*arrays)

    @call.def_vmap
    def _(size: int, in_batch: Sequence[bool], *arrays: Array) -> tuple[Array, bool]:
        if any(in_batch[:4]):
            several = [
                array if here else jnp.broadcast_to(array, (size, *array.shape))
                for array, here in zip(arrays, in_batch, strict=True)
            ]
            found = call(*(array.reshape(-1, *array.shape[2:]) for array in several))
            return found.reshape(size, -1, *found.shape[1:]), True
        *rows, by_value = arrays  # such as the members of a committee have for the same atoms
        n_atoms, n_each, n_columns = by_value.shape[1:]
        joined = jnp.moveaxis(by_value, 0, 1).reshape(n_atoms, -1, n_columns)
        found = call(*rows, joined)
        return jnp.moveaxis(found.reshape(n_atoms, size, n_each, *found.shape[2:]), 1, 0), True

    return call


def _values(sums: AngularSums, plan: _Plan, *arrays: Array) -> Float[Array, "atoms n_columns"]:
    def of_block(group: CentreGroup, rows: Rows) -> Array:
        tiles = PairTiles(group, rows, plan.tile, plan.stores)

        def add(terms: Terms, pair: ElementPair, found: Array) -> Array:
            return found.at[jnp.asarray(pair.columns)].set(tiles.values(terms, pair))

        found = jnp.zeros((sums.n_columns, len(rows.centres)), rows.vectors.dtype)
        return _over_pairs(group, add, found).T

    out = jnp.zeros((len(arrays[0]), sums.n_columns), arrays[0].dtype)
    return _over_blocks(sums, plan, of_block, out, arrays)


def _slopes(
    sums: AngularSums, plan: _Plan, *arrays: Array
) -> Float[Array, "atoms n_each n_neighbors 3"]:
    """Derivatives by the vectors of functions of the values.

    The fifth of the arrays has the derivatives of these functions by the values, (atoms, n_each,
    n_columns); without it those of each value are given.
    """
    vectors, *by_value = arrays[0], *arrays[4:]
    n_each = by_value[0].shape[1] if by_value else sums.n_columns

    def of_block(group: CentreGroup, rows: Rows, *by_value: Array) -> Array:
        tiles = PairTiles(group, rows, plan.tile, plan.stores)
        weights = jnp.moveaxis(by_value[0], 0, -1) if by_value else None

        def add(terms: Terms, pair: ElementPair, found: Array) -> Array:
            columns = jnp.asarray(pair.columns)
            if weights is None:
                at, slopes = columns, tiles.slopes(terms, pair)
            else:
                at, slopes = np.arange(n_each), tiles.slopes(terms, pair, weights[:, columns])
            found = found.at[at, pair.first].add(slopes[:, 0])
            return found.at[at, pair.second].add(slopes[:, 1])

        return tiles.in_rows(_over_pairs(group, add, tiles.no_slopes(n_each)))

    out = jnp.zeros((len(vectors), n_each, *vectors.shape[1:]), vectors.dtype)
    return _over_blocks(sums, plan, of_block, out, arrays)


def _over_blocks(
    sums: AngularSums,
    plan: _Plan,
    of_block: Callable[..., Array],
    out: Array,
    arrays: Sequence[Array],
) -> Array:
    """Fill the rows of `out` block by block, for one group of central elements after another."""
    n_atoms, centres = len(out), arrays[3]
    size = min(plan.block, -(-n_atoms // 8) * 8)

    def fill(group: CentreGroup, out: Array) -> Array:
        mine = jnp.any(centres[:, None] == np.array(group.centres), axis=1)
        n_mine = jnp.sum(mine)
        order = jnp.pad(jnp.argsort(~mine), (0, size), constant_values=n_atoms)

        def block(n: Array, out: Array) -> Array:
            there = n * size + np.arange(size) < n_mine
            atoms = jnp.where(there, jax.lax.dynamic_slice(order, (n * size,), (size,)), n_atoms)
            rows = [array.at[atoms].get(mode="clip") for array in arrays]
            rows[1] &= there[:, None]
            return out.at[atoms].set(of_block(group, Rows(*rows[:4]), *rows[4:]), mode="drop")

        return jax.lax.fori_loop(0, -(-n_mine // size), block, out)

    for group in sums.groups:
        out = fill(group, out)
    return out


def _over_pairs(
    group: CentreGroup, add: Callable[[Terms, ElementPair, Array], Array], found: Array
) -> Array:
    """Add the pairs of elements one after another; those with the same terms share a program."""

    def several(terms: Terms, pairs: Sequence[ElementPair], found: Array) -> Array:
        table = [jnp.asarray(part) for part in zip(*pairs, strict=True)]
        return jax.lax.fori_loop(
            0,
            len(pairs),
            lambda n, found: add(terms, ElementPair(*(part[n] for part in table)), found),
            found,
        )

    for terms, pairs in group.terms:
        found = several(terms, pairs, found)
    return found
