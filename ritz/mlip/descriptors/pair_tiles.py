"""Sums over pairs of neighbours, tile by tile, for a block of atoms at once.

The neighbours within reach are listed by element. Pairs j < k are then taken in tiles: a few
neighbours j, as many k, and all atoms of the block, whose axis is the last one of arrays here. So
the memory does not grow with the number of pairs, and there are only as many tiles as the atom
with the most neighbours has.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.descriptors.basis_functions import CUTOFFS, lengths, unit_vectors


class AngularTerm(NamedTuple):
    """One G4 or G5, without the elements of its neighbours."""

    eta: float
    """In 1/Angstrom^2."""
    r_c: float
    """The cutoff, in Angstrom."""
    with_third: bool
    """Whether there is a Gaussian and a cutoff of the distance of both neighbours too, as in G4."""
    lambda_: float
    zeta: float


Terms = tuple[AngularTerm, ...]
"""Terms of one pair of elements, sorted."""


class ElementPair(NamedTuple):
    """The elements of two neighbours, by their places, and the columns of their functions."""

    first: int | Array
    second: int | Array
    columns: tuple[int, ...] | Array


class CentreGroup(NamedTuple):
    """Central elements that have the same functions."""

    centres: tuple[int, ...]
    """Their places among the elements."""
    reach: tuple[float, ...]
    """By element of the neighbour, the largest cutoff of a function, in Angstrom."""
    terms: tuple[tuple[Terms, tuple[ElementPair, ...]], ...]
    """Terms, and the pairs of elements that have them."""
    cutoff_function: str
    """The name of f_c, see `CUTOFFS`."""

    @property
    def gaussians(self) -> list[tuple[float, float]]:
        """All eta and r_c."""
        return sorted({term[:2] for terms, _ in self.terms for term in terms})


class Rows(NamedTuple):
    """The neighbours of some atoms, in any order."""

    vectors: Float[Array, "atoms n_neighbors 3"]
    pairs: Bool[Array, "atoms n_neighbors"]
    kinds: Int[Array, "atoms n_neighbors"]
    centres: Int[Array, " atoms"]


class _Neighbors(NamedTuple):
    """Neighbours by element, or a few of one element; those that there are come first."""

    units: Float[Array, "*elements 3 n_places block"]
    lengths: Float[Array, "*elements n_places block"]
    """In Angstrom; 1 in empty places."""
    weights: Float[Array, "*elements n_gaussians n_places block"]
    """exp(-eta r^2) f_c(r) for each eta and r_c; 0 in empty places."""
    slopes: Float[Array, "*elements n_gaussians n_places block"]
    """Their derivatives by r."""

    def some(self, element: int | Array, number: Array, tile: int) -> "_Neighbors":
        """The neighbours of one element in a tile."""

        def cut(values: Array) -> Array:
            own = values[element]
            return jax.lax.dynamic_slice_in_dim(own, number * tile, tile, axis=own.ndim - 2)

        return _Neighbors(*map(cut, self))


class _Tile(NamedTuple):
    """Pairs of neighbours of a block of atoms: the first axis is j, the second k."""

    first: _Neighbors
    second: _Neighbors
    cosines: Float[Array, "tile tile block"]
    """Of the angle between both."""
    squares: Float[Array, "tile tile block"]
    """Of the distance of both, in Angstrom^2."""
    counted: Bool[Array, "tile tile 1"]
    """Which pairs are counted here."""


class PairTiles:
    """The pairs of neighbours of a block of atoms with the same functions.

    Args:
        group: The functions.
        rows: The neighbours.
        tile: How many neighbours j, and how many k, there are in a tile.
        stores: Whether the terms that several sums over a tile share are stored. XLA on CPUs would
            compute them again for each sum, but stores the results of a conditional.
    """

    def __init__(self, group: CentreGroup, rows: Rows, tile: int, stores: bool):
        self._group, self._tile, self._stores = group, tile, stores
        r, there = lengths(rows.vectors, rows.pairs)
        units = jnp.transpose(unit_vectors(rows.vectors, r, there), (2, 1, 0))
        r, there, kinds = r.T, there.T, rows.kinds.T.astype(np.int32)
        reach = jnp.asarray(group.reach, r.dtype)[kinds]
        n_elements = len(group.reach)
        element = jnp.where(there & (kinds >= 0) & (r < reach), kinds, n_elements)
        counts = jnp.sum(element == np.arange(n_elements)[:, None, None], axis=1)
        self._n_tiles = -(-jnp.max(counts, axis=1) // tile)
        order = jnp.argsort(element, axis=0)
        starts = jnp.cumsum(counts, axis=0) - counts
        places = np.arange(-(-len(r) // tile) * tile)[:, None]
        filled = jnp.asarray(places) < counts[:, None]
        sources = jnp.minimum(starts[:, None] + places, len(r) - 1)
        sources = jnp.take_along_axis(order, sources.reshape(-1, order.shape[1]), axis=0)

        def listed(values: Array) -> Array:
            return jnp.take_along_axis(values, sources, axis=0).reshape(filled.shape)

        self._lists = self._listed(
            jnp.where(filled, listed(r), 1), jnp.stack(list(map(listed, units)), axis=1), filled
        )
        place = jnp.argsort(order, axis=0) - jnp.take_along_axis(
            jnp.pad(starts, ((0, 1), (0, 0))), element, axis=0
        )
        last = n_elements * len(places)  # for those that are in no list
        self._place = jnp.where(element < n_elements, element * len(places) + place, last)

    def _listed(self, r: Array, units: Array, filled: Array) -> _Neighbors:
        weights, slopes = [], []
        for eta, r_c in self._group.gaussians:
            gaussian = jnp.where(filled, jnp.exp(-eta * r**2), 0)
            value, slope = CUTOFFS[self._group.cutoff_function](r**2, r_c)
            weights.append(gaussian * value)
            slopes.append(2 * r * gaussian * (slope - eta * value))
        return _Neighbors(units, r, jnp.stack(weights, axis=1), jnp.stack(slopes, axis=1))

    def values(self, terms: Terms, pair: ElementPair) -> Float[Array, "n_terms block"]:
        """The sums of some terms over the pairs of two elements."""

        def common(tile: _Tile) -> tuple[Array, ...]:
            found = []
            for term, _ in _alike(terms):
                w, _, v, _ = self._weights(tile, term)
                third, _ = self._third(tile, term)
                found.append(jnp.where(tile.counted, w * v * third, 0))
            return tuple(found)

        def add(tile: _Tile, at: tuple[Array, Array], total: Array) -> Array:
            sums = [
                jnp.sum(factor * _angle(tile.cosines, terms[n])[0], axis=(0, 1))
                for factor, (_, places) in zip(
                    self._stored(common, tile), _alike(terms), strict=True
                )
                for n in places
            ]
            return total + jnp.stack(sums)

        total = jnp.zeros((len(terms), self._place.shape[1]), self._lists.lengths.dtype)
        return self._over_tiles(pair, add, total)

    def slopes(
        self,
        terms: Terms,
        pair: ElementPair,
        by_value: Float[Array, "n_each n_terms block"] | None = None,
    ) -> Float[Array, "n_each 2 3 n_places block"]:
        """Derivatives by the vectors to the neighbours j, and to the neighbours k.

        Args:
            terms: The terms.
            pair: The elements.
            by_value: Derivatives of some functions by the values; by default the values themselves
                are these functions.
        """
        n_places, block = self._lists.lengths.shape[1:]
        n_each = len(terms) if by_value is None else len(by_value)
        factors = functools.partial(self._factors, terms, by_value)

        def add(tile: _Tile, at: tuple[Array, Array], total: Array) -> Array:
            by_cosine, by_first, by_second = self._stored(factors, tile)
            first = [by_cosine * tile.second.units[x] for x in range(3)]
            second = [by_cosine * tile.first.units[x][:, None] for x in range(3)]
            for side, several in enumerate(((*first, by_first), (*second, by_second))):
                new = jnp.stack([jnp.sum(part, axis=2 - side) for part in several], axis=1)
                start = (0, side, 0, at[side] * self._tile, 0)
                old = jax.lax.dynamic_slice(total, start, (n_each, 1, 4, self._tile, block))
                total = jax.lax.dynamic_update_slice(total, old + new[:, None], start)
            return total

        total = jnp.zeros((n_each, 2, 4, n_places, block), self._lists.lengths.dtype)
        total = self._over_tiles(pair, add, total)
        by_unit, by_length = total[:, :, :3], total[:, :, 3:]
        both = jnp.stack([jnp.asarray(pair.first), jnp.asarray(pair.second)])
        units, r = self._lists.units[both], self._lists.lengths[both][:, None]
        along = jnp.sum(by_unit * units, axis=2, keepdims=True)
        return (by_unit - along * units) / r + by_length * units

    def no_slopes(self, n_each: int) -> Float[Array, "n_each elements 3 n_places block"]:
        """Zeros, to add derivatives by the vectors to the neighbours of each element to."""
        return jnp.zeros((n_each, *self._lists.units.shape), self._lists.units.dtype)

    def in_rows(
        self, slopes: Float[Array, "n_each elements 3 n_places block"]
    ) -> Float[Array, "block n_each n_neighbors 3"]:
        """The derivatives in the order of rows; 0 for neighbours that are out of reach."""
        n_each, _, _, _, block = slopes.shape
        flat = jnp.moveaxis(slopes, 1, 2).reshape(n_each, 3, -1, block)
        flat = jnp.pad(flat, ((0, 0), (0, 0), (0, 1), (0, 0)))
        found = jnp.take_along_axis(flat, self._place[None, None], axis=2)
        return jnp.transpose(found, (3, 0, 2, 1))

    def _over_tiles(
        self,
        pair: ElementPair,
        add: Callable[[_Tile, tuple[Array, Array], Array], Array],
        total: Array,
    ) -> Array:
        """Add all tiles; of neighbours of one element those with j < k."""
        places = np.arange(self._tile)[:, None, None], np.arange(self._tile)[:, None]

        def one(a: Array, b: Array, total: Array) -> Array:
            first = self._lists.some(pair.first, a, self._tile)
            second = self._lists.some(pair.second, b, self._tile)
            cosines = jnp.sum(first.units[:, :, None] * second.units[:, None], axis=0)
            r, s = first.lengths[:, None], second.lengths
            counted = (pair.first != pair.second) | (a < b) | (places[0] < places[1])
            tile = _Tile(first, second, cosines, r**2 + s**2 - 2 * r * s * cosines, counted)
            return add(tile, (a, b), total)

        def row(a: Array, total: Array) -> Array:
            begin = jnp.where(pair.first == pair.second, a, 0)
            end = self._n_tiles[pair.second]
            return jax.lax.fori_loop(begin, end, functools.partial(one, a), total)

        return jax.lax.fori_loop(0, self._n_tiles[pair.first], row, total)

    def _stored(self, function: Callable[[_Tile], tuple[Array, ...]], tile: _Tile) -> tuple:
        if not self._stores:
            return function(tile)
        shapes = jax.eval_shape(function, tile)
        nothing = tuple(jnp.zeros(part.shape, part.dtype) for part in shapes)
        return jax.lax.cond(jnp.any(self._n_tiles > 0), function, lambda _: nothing, tile)

    def _weights(self, tile: _Tile, term: AngularTerm) -> tuple[Array, Array, Array, Array]:
        """exp(-eta r^2) f_c(r) and its derivative, for the neighbours j and for the k."""
        place = self._group.gaussians.index(term[:2])
        first, second = tile.first, tile.second
        return (
            first.weights[place][:, None],
            first.slopes[place][:, None],
            second.weights[place],
            second.slopes[place],
        )

    def _third(self, tile: _Tile, term: AngularTerm) -> tuple[Array | float, Array | float]:
        """exp(-eta r_jk^2) f_c(r_jk), and its derivative by r_jk^2; 1 and 0 in G5."""
        if not term.with_third:
            return 1.0, 0.0
        gaussian = jnp.exp(-term.eta * tile.squares)
        value, slope = CUTOFFS[self._group.cutoff_function](tile.squares, term.r_c)
        return gaussian * value, gaussian * (slope - term.eta * value)

    def _factors(
        self, terms: Terms, by_value: Array | None, tile: _Tile
    ) -> tuple[Array, Array, Array]:
        """Derivatives by the cosine, r_j and r_k, each (n_each, tile, tile, block).

        With c the cosine, a term is A(c) w(r_j) w(r_k) g(x), x = r_j^2 + r_k^2 - 2 r_j r_k c. So
        its derivative by c is A' w w g - 2 r_j r_k A w w g', and by r_j it is
        A w'(r_j) w(r_k) g + 2 (r_j - r_k c) A w w g'.
        """
        r, s = tile.first.lengths[:, None], tile.second.lengths
        parts = []
        for term, places in _alike(terms):
            w, w_slope, v, v_slope = self._weights(tile, term)
            g, g_slope = self._third(tile, term)
            each = [_angle(tile.cosines, terms[n]) for n in places]
            angle, slope = (_combined(own, by_value, places) for own in zip(*each, strict=True))
            angle, slope = (jnp.where(tile.counted, own, 0) for own in (angle, slope))
            by_square = 2 * angle * (w * v * g_slope)
            parts.append(
                (
                    slope * (w * v * g) - by_square * (r * s),
                    angle * (w_slope * v * g) + by_square * (r - s * tile.cosines),
                    angle * (w * v_slope * g) + by_square * (s - r * tile.cosines),
                )
            )
        by_cosine, by_first, by_second = zip(*parts, strict=True)
        if by_value is None:
            return jnp.concatenate(by_cosine), jnp.concatenate(by_first), jnp.concatenate(by_second)
        return _sum(by_cosine), _sum(by_first), _sum(by_second)


def _alike(terms: Terms) -> Iterator[tuple[AngularTerm, Sequence[int]]]:
    """The places of terms that differ in lambda and zeta alone, and the first of them."""
    for _, several in itertools.groupby(range(len(terms)), key=lambda n: terms[n][:3]):
        places = list(several)
        yield terms[places[0]], places


def _angle(cosines: Array, term: AngularTerm) -> tuple[Array, Array]:
    """2^(1-zeta) (1 + lambda cos theta)^zeta, and its derivative by the cosine."""
    half = jnp.maximum(1 + term.lambda_ * cosines, 0) / 2
    zeta = int(term.zeta) if term.zeta == int(term.zeta) else term.zeta  # such powers are products
    power = half ** (zeta - 1)
    return 2 * half * power, term.lambda_ * zeta * power


def _combined(parts: Sequence[Array], by_value: Array | None, places: Sequence[int]) -> Array:
    """Parts of terms, (n_each, tile, tile, block), times the derivatives by the values."""
    if by_value is None:
        return jnp.stack(parts)
    return _sum([by_value[:, n, None, None] * part for n, part in zip(places, parts, strict=True)])


def _sum(parts: Sequence[Array]) -> Array:
    return functools.reduce(jnp.add, parts)
