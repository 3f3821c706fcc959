"""Sums over pairs of an atom's neighbours, and their derivatives: G4 and G5 for many atoms.

The neighbours of an atom are sorted by species, without those beyond the cutoffs of its functions.
Pairs j < k are then taken in tiles of a few neighbours j, as many k, and a block of atoms, and only
as many tiles as the atom with the most neighbours has. So long rows with few neighbours take no
time, nothing is cut off, and the memory does not grow with the number of pairs. Each pair is
evaluated for the functions of its two elements alone, what these share is computed once, and
derivatives are in closed form, see `_tile_slopes`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.descriptors.basis_functions import CUTOFFS, lengths, unit_vectors


class AngularTerm(NamedTuple):
    """One G4 or G5, without the elements of its neighbours."""

    eta: float
    """In 1/Angstrom^2."""
    r_c: float
    """The cutoff, in Angstrom."""
    with_third: bool
    """Whether the distance of both neighbours has a Gaussian and a cutoff too: G4."""
    lambda_: float
    zeta: float


Terms = tuple[AngularTerm, ...]
"""Sorted."""


class ElementPair(NamedTuple):
    """The elements of two neighbours, by their places, and the columns of their functions."""

    first: int
    second: int
    columns: tuple[int, ...]


class CentreGroup(NamedTuple):
    """Central elements that have the same functions."""

    centres: tuple[int, ...]
    """Their places among the elements."""
    reach: tuple[float, ...]
    """By element of the neighbour, the largest cutoff of a function, in Angstrom."""
    terms: tuple[tuple[Terms, tuple[ElementPair, ...]], ...]
    """Lists of functions, and the pairs of elements that have them."""


class AngularSums(NamedTuple):
    """The G4 and G5 of all elements; hashable."""

    groups: tuple[CentreGroup, ...]
    n_columns: int
    cutoff_function: str
    """The name of f_c, see `CUTOFFS`."""


Function = tuple[int, int, AngularTerm]
"""A G4 or G5 with the places of the elements of its neighbours."""


def angular_sums(lists: Sequence[Sequence[Function]], cutoff_function: str) -> AngularSums:
    """The sums of some functions; what can be computed together is put together.

    Args:
        lists: The functions by the element of the central atom, in the order of columns.
        cutoff_function: The name of f_c.
    """
    groups: dict[tuple[Function, ...], list[int]] = {}
    for centre, functions in enumerate(lists):
        if functions:
            groups.setdefault(tuple(functions), []).append(centre)
    return AngularSums(
        tuple(_group(functions, places, len(lists)) for functions, places in groups.items()),
        max(map(len, lists), default=0),
        cutoff_function,
    )


def _group(functions: Sequence[Function], centres: Sequence[int], n_elements: int) -> CentreGroup:
    reach = [0.0] * n_elements
    by_pair: dict[tuple[int, int], list[tuple[AngularTerm, int]]] = {}
    for column, (first, second, term) in enumerate(functions):
        reach[first] = max(reach[first], term.r_c)
        reach[second] = max(reach[second], term.r_c)
        pair = min(first, second), max(first, second)
        by_pair.setdefault(pair, []).append((term, column))
    by_terms: dict[tuple[AngularTerm, ...], list[ElementPair]] = {}
    for pair, several in by_pair.items():
        terms, columns = zip(*sorted(several), strict=True)
        by_terms.setdefault(terms, []).append(ElementPair(*pair, columns))
    together = tuple((terms, tuple(pairs)) for terms, pairs in by_terms.items())
    return CentreGroup(tuple(centres), tuple(reach), together)


class Rows(NamedTuple):
    """The neighbours of atoms, in any order."""

    vectors: Float[Array, "atoms n_neighbors 3"]
    pairs: Bool[Array, "atoms n_neighbors"]
    kinds: Int[Array, "atoms n_neighbors"]
    centres: Int[Array, " atoms"]


class _Sizes(NamedTuple):
    """How much is computed at once."""

    block: int
    """Atoms."""
    tile: int
    """Neighbours."""


_CPU = _Sizes(64, 8)
"""Tiles of 8 x 8 x 64 numbers remain in a core's cache."""

_OTHERS = _Sizes(1024, 16)
"""GPUs take as long for small arrays as for larger ones."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def values(
    sums: AngularSums,
    vectors: Float[Array, "atoms n_neighbors 3"],
    pairs: Bool[Array, "atoms n_neighbors"],
    kinds: Int[Array, "atoms n_neighbors"],
    centres: Int[Array, " atoms"],
) -> Float[Array, "atoms n_columns"]:
    """The functions of all atoms; arguments as those of `AbstractDescriptor.features`.

    JAX differentiates it in reverse mode, and derivatives in forward mode.
    """
    return _batched(functools.partial(_on_platform, _values, sums))(vectors, pairs, kinds, centres)


def _forward(sums: AngularSums, *rows: Array) -> tuple[Array, tuple[Array, ...]]:
    return values(sums, *rows), rows


def _backward(sums: AngularSums, rows: tuple[Array, ...], by_value: Array) -> tuple:
    found = _batched(functools.partial(_on_platform, _pullback, sums))(*rows, by_value[:, None])
    return found[:, 0], None, None, None


values.defvjp(_forward, _backward)


def derivatives(
    sums: AngularSums, vectors: Array, pairs: Array, kinds: Array, centres: Array
) -> Float[Array, "atoms n_columns n_neighbors 3"]:
    """The derivatives of `values` by the vectors."""
    return _on_platform(_jacobian, sums, vectors, pairs, kinds, centres)


def _on_platform(function: Callable[..., Array], sums: AngularSums, *arrays: Array) -> Array:
    return jax.lax.platform_dependent(
        *arrays,
        cpu=functools.partial(function, sums, _CPU),
        default=functools.partial(function, sums, _OTHERS),
    )


def _batched(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function, so that a batch of structures is taken as one with the atoms of all of them.

    Loops are then as long as the atoms of all structures need, without any of each structure.
    """

    @custom_vmap
    def call(*arrays: Array) -> Array:
        return function(*arrays)

    @call.def_vmap
    def batched(size: int, in_batch: list[bool], *arrays: Array) -> tuple[Array, bool]:
        if not any(in_batch[:4]):  # several derivatives for the same atoms
            *rows, by_value = arrays
            n_each = by_value.shape[2]
            moved = jnp.moveaxis(by_value, 0, 1)
            found = call(*rows, moved.reshape(len(moved), -1, *moved.shape[3:]))
            found = found.reshape(len(found), size, n_each, *found.shape[2:])
            return jnp.moveaxis(found, 1, 0), True
        several = [
            array if here else jnp.broadcast_to(array, (size, *array.shape))
            for array, here in zip(arrays, in_batch, strict=True)
        ]
        found = call(*(array.reshape(-1, *array.shape[2:]) for array in several))
        return found.reshape(size, -1, *found.shape[1:]), True

    return call


# Blocks of atoms, which are the last axis of arrays from here on.


def _values(sums: AngularSums, sizes: _Sizes, *arrays: Array) -> Array:
    n_atoms, dtype = len(arrays[0]), arrays[0].dtype

    def of_block(group: CentreGroup, rows: Rows) -> Array:
        lists = _lists(group, sums, sizes.tile, rows)
        block = len(rows.centres)

        def of_pair(terms: Terms, pair: ElementPair, found: Array) -> Array:
            def add(a: Array, b: Array, total: Array) -> Array:
                return total + _tile_values(
                    terms, group, sums, _tile(lists, pair, a, b, sizes.tile)
                )

            total = jnp.zeros((len(terms), block), dtype)
            total = _over_tiles(lists.counts, pair, sizes.tile, add, total)
            return found.at[jnp.asarray(pair.columns)].set(total)

        return _over_pairs(group, of_pair, jnp.zeros((sums.n_columns, block), dtype)).T

    out = jnp.zeros((n_atoms, sums.n_columns), dtype)
    return _over_blocks(sums, sizes.block, of_block, out, arrays)


def _pullback(sums: AngularSums, sizes: _Sizes, *arrays: Array) -> Array:
    """Derivatives of functions of the values: (atoms, n, n_columns) -> (atoms, n, neighbours, 3)."""
    *rows, by_value = arrays
    n_each = by_value.shape[1]

    def of_block(group: CentreGroup, rows: Rows, by_value: Array) -> Array:
        lists = _lists(group, sums, sizes.tile, rows)
        by_value = jnp.moveaxis(by_value, 0, -1)

        def of_pair(terms: Terms, pair: ElementPair, found: Array) -> Array:
            weights = by_value[:, jnp.asarray(pair.columns)]
            slopes = _slopes(terms, group, sums, lists, pair, sizes.tile, weights)
            return found.at[:, pair.first].add(slopes[:, 0]).at[:, pair.second].add(slopes[:, 1])

        return _in_rows(lists, _over_pairs(group, of_pair, _empty(lists, n_each)))

    out = jnp.zeros((len(by_value), n_each, *arrays[0].shape[1:]), by_value.dtype)
    return _over_blocks(sums, sizes.block, of_block, out, arrays)


def _jacobian(sums: AngularSums, sizes: _Sizes, *arrays: Array) -> Array:
    """Derivatives of all values, (atoms, n_columns, neighbours, 3)."""

    def of_block(group: CentreGroup, rows: Rows) -> Array:
        lists = _lists(group, sums, sizes.tile, rows)

        def of_pair(terms: Terms, pair: ElementPair, found: Array) -> Array:
            slopes = _slopes(terms, group, sums, lists, pair, sizes.tile, None)
            columns = jnp.asarray(pair.columns)
            found = found.at[columns, pair.first].add(slopes[:, 0])
            return found.at[columns, pair.second].add(slopes[:, 1])

        return _in_rows(lists, _over_pairs(group, of_pair, _empty(lists, sums.n_columns)))

    out = jnp.zeros((len(arrays[0]), sums.n_columns, *arrays[0].shape[1:]), arrays[0].dtype)
    return _over_blocks(sums, sizes.block, of_block, out, arrays)


def _over_blocks(
    sums: AngularSums,
    most: int,
    of_block: Callable[..., Array],
    out: Array,
    arrays: Sequence[Array],
) -> Array:
    """Fill the rows of `out`, for one group of central elements after another."""
    n_atoms = len(out)
    block = min(most, -(-n_atoms // 8) * 8)
    centres = arrays[3]
    for group in sums.groups:
        mine = jnp.any(centres[:, None] == np.array(group.centres), axis=1)
        order = jnp.pad(jnp.argsort(~mine), (0, block), constant_values=n_atoms)
        n_mine = jnp.sum(mine)

        def body(
            n: Array, out: Array, order: Array = order, n_mine: Array = n_mine,
            group: CentreGroup = group,
        ) -> Array:  # fmt: skip
            there = n * block + jnp.arange(block) < n_mine
            atoms = jnp.where(there, jax.lax.dynamic_slice(order, (n * block,), (block,)), n_atoms)
            rows = [array.at[atoms].get(mode="clip") for array in arrays]
            rows[1] &= there[:, None]
            return out.at[atoms].set(of_block(group, Rows(*rows[:4]), *rows[4:]), mode="drop")

        out = jax.lax.fori_loop(0, -(-n_mine // block), body, out)
    return out


def _over_pairs(
    group: CentreGroup, of_pair: Callable[[Terms, ElementPair, Array], Array], found: Array
) -> Array:
    """Go through the pairs of elements; those with the same functions share a program."""
    for terms, pairs in group.terms:
        table = ElementPair(*(np.array(part) for part in zip(*pairs, strict=True)))

        def body(n: Array, found: Array, terms: Terms = terms, table: ElementPair = table) -> Array:
            return of_pair(terms, ElementPair(*(jnp.asarray(part)[n] for part in table)), found)

        found = jax.lax.fori_loop(0, len(pairs), body, found)
    return found


# Lists of neighbours.


class _Lists(NamedTuple):
    """The neighbours of a block of atoms by element, first those within reach."""

    counts: Int[Array, " elements"]
    """The most neighbours of an element that an atom has."""
    units: Float[Array, "elements 3 n_neighbors block"]
    lengths: Float[Array, "elements n_neighbors block"]
    """1 in empty places."""
    weights: Float[Array, "elements n_weights n_neighbors block"]
    """exp(-eta r^2) f_c(r) for each eta and r_c; 0 in empty places."""
    slopes: Float[Array, "elements n_weights n_neighbors block"]
    """Their derivatives by r."""
    elements: Int[Array, "n_neighbors block"]
    """The list that each neighbour of a row is in."""
    places: Int[Array, "n_neighbors block"]
    """Its place in the list; the length of lists if it is in none."""


def _weights(group: CentreGroup) -> list[tuple[float, float]]:
    """All eta and r_c of a group."""
    return sorted({(term.eta, term.r_c) for terms, _ in group.terms for term in terms})


def _lists(group: CentreGroup, sums: AngularSums, tile: int, rows: Rows) -> _Lists:
    vectors = jnp.transpose(rows.vectors, (2, 1, 0))
    r, there = lengths(rows.vectors, rows.pairs)
    units = jnp.transpose(unit_vectors(rows.vectors, r, there), (2, 1, 0))
    r, there, kinds = r.T, there.T, rows.kinds.T.astype(np.int32)
    n_elements, n_neighbors = len(group.reach), len(r)
    n_places = -(-n_neighbors // tile) * tile
    reach = jnp.asarray(group.reach, r.dtype)[kinds]
    elements = jnp.where(there & (kinds >= 0) & (r < reach), kinds, n_elements)
    order = jnp.argsort(elements, axis=0)
    counts = jnp.sum(elements == np.arange(n_elements)[:, None, None], axis=1)
    starts = jnp.cumsum(counts, axis=0) - counts
    places = jnp.argsort(order, axis=0) - jnp.take_along_axis(
        jnp.pad(starts, ((0, 1), (0, 0))), elements, axis=0
    )
    place = np.arange(n_places)[:, None]
    sources = jnp.minimum(starts[:, None] + place, n_neighbors - 1)
    sources = jnp.take_along_axis(order, sources.reshape(-1, sources.shape[-1]), axis=0)
    filled = place < counts[:, None]

    def listed(values: Array) -> Array:
        return jnp.take_along_axis(values, sources, axis=0).reshape(filled.shape)

    r = jnp.where(filled, listed(r), 1)
    units = jnp.stack([listed(axis) for axis in units], axis=1)
    weights, slopes = [], []
    for eta, r_c in _weights(group):
        gaussian = jnp.where(filled, jnp.exp(-eta * r**2), 0)
        value, slope = CUTOFFS[sums.cutoff_function](r**2, r_c)
        weights.append(gaussian * value)
        slopes.append(2 * r * gaussian * (slope - eta * value))
    return _Lists(
        counts=jnp.max(counts, axis=1),
        units=units,
        lengths=r,
        weights=jnp.stack(weights, axis=1),
        slopes=jnp.stack(slopes, axis=1),
        elements=elements,
        places=jnp.where(elements < n_elements, places, n_places),
    )


def _empty(lists: _Lists, n_each: int) -> Array:
    """No derivatives by the vectors to the neighbours in lists."""
    n_elements, _, *shape = lists.units.shape
    return jnp.zeros((n_each, n_elements, 3, *shape), lists.units.dtype)


def _in_rows(lists: _Lists, by_vector: Array) -> Array:
    """Derivatives by neighbours in lists as (block, n_each, n_neighbors, 3)."""
    n_each, n_elements, _, n_places, block = by_vector.shape
    flat = jnp.moveaxis(by_vector, 1, 2).reshape(n_each, 3, n_elements * n_places, block)
    flat = jnp.pad(flat, ((0, 0), (0, 0), (0, 1), (0, 0)))
    places = jnp.minimum(lists.elements * n_places + lists.places, n_elements * n_places)
    found = jnp.take_along_axis(flat, places[None, None], axis=2)
    return jnp.transpose(found, (3, 0, 2, 1))


# Tiles of pairs; the first two axes are the first and the second neighbour.


class _Tile(NamedTuple):
    """Some pairs of neighbours of a block of atoms."""

    first: _Lists
    second: _Lists
    cosines: Float[Array, "tile tile block"]
    squares: Float[Array, "tile tile block"]
    """Of the distances between both neighbours."""
    once: Bool[Array, "tile tile 1"]
    """Which pairs are counted here."""


def _over_tiles(
    counts: Array, pair: ElementPair, tile: int, step: Callable[..., Array], carry: Array
) -> Array:
    """Go through all tiles of pairs of neighbours; of one element those with j < k."""
    n_first, n_second = (-(-counts[element] // tile) for element in pair[:2])

    def along(a: Array, carry: Array) -> Array:
        begin = jnp.where(pair.first == pair.second, a, 0)
        return jax.lax.fori_loop(begin, n_second, lambda b, carry: step(a, b, carry), carry)

    return jax.lax.fori_loop(0, n_first, along, carry)


def _tile(lists: _Lists, pair: ElementPair, a: Array, b: Array, tile: int) -> _Tile:
    def part(element: int, number: Array) -> _Lists:
        def cut(values: Array) -> Array:
            own = values[element]
            return jax.lax.dynamic_slice_in_dim(own, number * tile, tile, axis=own.ndim - 2)

        return lists._replace(
            units=cut(lists.units),
            lengths=cut(lists.lengths),
            weights=cut(lists.weights),
            slopes=cut(lists.slopes),
        )

    first, second = part(pair.first, a), part(pair.second, b)
    r, s = first.lengths[:, None], second.lengths
    cosines = sum(first.units[x][:, None] * second.units[x] for x in range(3))
    places = np.arange(tile)[:, None, None], np.arange(tile)[:, None]
    once = (pair.first != pair.second) | (a < b) | (places[0] < places[1])
    return _Tile(first, second, cosines, r**2 + s**2 - 2 * r * s * cosines, once)


def _angles(cosines: Array, term: AngularTerm) -> tuple[Array, Array]:
    """2^(1-zeta) (1 + lambda cos theta)^zeta, and its derivative by the cosine."""
    half = jnp.maximum(1 + term.lambda_ * cosines, 0) / 2
    zeta = int(term.zeta) if term.zeta == int(term.zeta) else term.zeta  # such are products
    power = half ** (zeta - 1)
    return 2 * half * power, term.lambda_ * zeta * power


def _third(tile: _Tile, term: AngularTerm, sums: AngularSums) -> tuple[Array, Array] | None:
    """exp(-eta r_jk^2) f_c(r_jk) and its derivative by the square of r_jk; None in G5."""
    if not term.with_third:
        return None
    gaussian = jnp.exp(-term.eta * tile.squares)
    value, slope = CUTOFFS[sums.cutoff_function](tile.squares, term.r_c)
    return gaussian * value, gaussian * (slope - term.eta * value)


def _alike(terms: Terms) -> Iterator[tuple[AngularTerm, list[int]]]:
    """The places of terms that have all but the angle in common, and the first of them."""
    for _, several in itertools.groupby(range(len(terms)), key=lambda n: terms[n][:3]):
        places = list(several)
        yield terms[places[0]], places


def _tile_values(
    terms: Terms, group: CentreGroup, sums: AngularSums, tile: _Tile
) -> Float[Array, "n_terms block"]:
    """The sums of all terms over the pairs of a tile."""
    found, weights = [], _weights(group)
    for term, places in _alike(terms):
        place, third = weights.index(term[:2]), _third(tile, term, sums)
        common = tile.first.weights[place][:, None] * tile.second.weights[place]
        common = jnp.where(tile.once, common if third is None else common * third[0], 0)
        for n in places:
            found.append(jnp.sum(common * _angles(tile.cosines, terms[n])[0], axis=(0, 1)))
    return jnp.stack(found)


def _slopes(
    terms: Terms,
    group: CentreGroup,
    sums: AngularSums,
    lists: _Lists,
    pair: ElementPair,
    tile: int,
    by_value: Float[Array, "n_each n_terms block"] | None,
) -> Float[Array, "n_each 2 3 n_neighbors block"]:
    """The derivatives by the vectors to the first and to the second neighbours.

    Args:
        by_value: Derivatives of several functions by the terms; without, those of each term.
    """
    _, _, n_places, block = lists.units.shape
    n_each = len(terms) if by_value is None else len(by_value)

    def add(a: Array, b: Array, total: Array) -> Array:
        slopes = _tile_slopes(terms, group, sums, _tile(lists, pair, a, b, tile), by_value)
        for side, (number, own) in enumerate(zip((a, b), slopes, strict=True)):
            start = (0, side, 0, number * tile, 0)
            old = jax.lax.dynamic_slice(total, start, (n_each, 1, 4, tile, block))
            total = jax.lax.dynamic_update_slice(total, old + own[:, None], start)
        return total

    total = jnp.zeros((n_each, 2, 4, n_places, block), lists.units.dtype)
    total = _over_tiles(lists.counts, pair, tile, add, total)
    both = jnp.stack([pair.first, pair.second])
    by_unit, by_length = total[:, :, :3], total[:, :, 3:]
    units, r = lists.units[both], lists.lengths[both][:, None]
    along = jnp.sum(by_unit * units, axis=2, keepdims=True)
    return (by_unit - along * units) / r + by_length * units


def _tile_slopes(
    terms: Terms,
    group: CentreGroup,
    sums: AngularSums,
    tile: _Tile,
    by_value: Float[Array, "n_each n_terms block"] | None,
) -> tuple[Array, Array]:
    """Derivatives by unit vectors and lengths, (n_each, 4, tile, block), of both neighbours.

    With c the cosine, a term is A(c) w(r_j) w(r_k) g(x), x = r_j^2 + r_k^2 - 2 r_j r_k c. So the
    derivative by the unit vector to j is u_k (A' w w g - 2 r_j r_k A w w g'), that by r_j
    A w'(r_j) w(r_k) g + 2 (r_j - r_k c) A w w g'.
    """
    r, s = tile.first.lengths[:, None], tile.second.lengths
    parts, weights = [], _weights(group)
    for term, places in _alike(terms):
        place, third = weights.index(term[:2]), _third(tile, term, sums)
        w, w_slope = (part[place][:, None] for part in (tile.first.weights, tile.first.slopes))
        v, v_slope = tile.second.weights[place], tile.second.slopes[place]
        angles, slopes = zip(*(_angles(tile.cosines, terms[n]) for n in places), strict=True)
        if by_value is None:
            angle, slope = jnp.stack(angles), jnp.stack(slopes)
        else:
            each = [by_value[:, n, None, None] for n in places]
            angle, slope = (sum(map(jnp.multiply, each, several)) for several in (angles, slopes))
        angle, slope = (jnp.where(tile.once, values, 0) for values in (angle, slope))
        g, g_slope = (1.0, 0.0) if third is None else third
        by_square = 2 * angle * (w * v * g_slope)
        parts.append((
            slope * (w * v * g) - by_square * (r * s),
            angle * (w_slope * v * g) + by_square * (r - s * tile.cosines),
            angle * (w * v_slope * g) + by_square * (s - r * tile.cosines),
        ))  # fmt: skip
    join = jnp.concatenate if by_value is None else sum
    by_cosine, by_first, by_second = (join(several) for several in zip(*parts, strict=True))

    def slopes_of(by_length: Array, units: Sequence[Array], axis: int) -> Array:
        several = [by_cosine * unit for unit in units]
        return jnp.stack([jnp.sum(values, axis) for values in (*several, by_length)], axis=1)

    return (
        slopes_of(by_first, [tile.second.units[x] for x in range(3)], 2),
        slopes_of(by_second, [tile.first.units[x][:, None] for x in range(3)], 1),
    )
