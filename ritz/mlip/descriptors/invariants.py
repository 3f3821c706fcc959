"""Products of atomic densities that do not change under rotations, reflections and exchange."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ritz.mlip.descriptors.spherical_harmonics import coupling_of

Channel = tuple[int, int, int]
"""Element, number of the radial function, and l, of an atomic density."""

MOST_DENSITIES = 4
"""The largest number of densities in a product: one less than the body order."""

_INDEPENDENT = 1e-9
"""Singular values below this, relative to the largest, are of what depends on others."""


class Products(NamedTuple):
    """Sums of products of the same number of densities: features of one body order."""

    places: np.ndarray
    """Which densities are multiplied, of shape (n_terms, n_densities): those of `parts_of`, of the
    first element first."""
    factors: np.ndarray
    """What each product is multiplied with, of shape (n_terms,)."""
    owners: np.ndarray
    """To which feature each product belongs, in growing order, of shape (n_terms,)."""
    n_features: int


@functools.cache
def products_of(n_elements: int, degrees: tuple[int, ...]) -> tuple[Products, ...]:
    """The independent invariants of all body orders.

    Args:
        n_elements: Number of elements of neighbours.
        degrees: For products of one, two, ... densities the largest total degree, which is the sum
            of n + l over them.
    """
    parts = {part: place for place, part in enumerate(zip(*parts_of(degrees), strict=True))}
    found = []
    for n_densities, degree in enumerate(degrees, start=1):
        terms: list[tuple[tuple[int, ...], float, int]] = []
        n_features = 0
        for channels in _multisets(n_elements, n_densities, degree):
            for invariant in symmetric_invariants(channels):
                terms += [(k, v, n_features) for k, v in _terms(channels, invariant, parts)]
                n_features += 1
        places = np.array([k for k, _, _ in terms], int).reshape(-1, n_densities)
        factors = np.array([v for _, v, _ in terms], float)
        owners = np.array([owner for _, _, owner in terms], int)
        found.append(Products(places, factors, owners, n_features))
    return tuple(found)


def sizes_of(degrees: Sequence[int]) -> tuple[int, int]:
    """Number of radial functions, and the largest l, that occur."""
    angular = [degree // 2 for degree in degrees[1:]]  # at least two densities share an l
    return max(degrees) + 1, max(angular, default=0)


@functools.cache
def parts_of(degrees: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The densities of an element that occur: numbers of their radial functions and harmonics.

    The l of the others in a product sum up to at least that of each: a density of n and l is in
    products of a total degree of n + 2 l or more.
    """
    found = set()
    for n_densities, degree in enumerate(degrees, start=1):
        for l in range(degree // 2 + 1 if n_densities > 1 else 1):  # noqa: E741
            numbers = range(degree - 2 * l + 1)
            found |= {(n, l * l + m) for n in numbers for m in range(2 * l + 1)}
    radial, harmonics = np.array(sorted(found), int).T
    return radial, harmonics


_SIZES = {"small": 150, "medium": 500, "large": 1300}
"""About so many features have the sets that are called by a word."""

_LESS = (0, 2, 4, 8)
"""By how much the degrees of longer products are smaller."""


@functools.cache
def degrees_of(size: str, n_elements: int) -> tuple[int, ...]:
    """The largest degrees that give at most about as many features as a word stands for.

    Raises:
        ValueError: If there is no such word.
    """
    if size not in _SIZES:
        words = ", ".join(repr(word) for word in _SIZES)
        raise ValueError(
            f"degrees are whole numbers, such as (10, 8, 6), or one of {words}, not {size!r}."
        )
    found = (1,)
    for largest in range(2, 30):
        degrees = tuple(largest - less for less in _LESS if largest > less)
        if sum(p.n_features for p in products_of(n_elements, degrees)) > _SIZES[size]:
            break
        found = degrees
    return found


def _multisets(n_elements: int, n_densities: int, degree: int) -> Iterator[tuple[Channel, ...]]:
    """Channels in growing order whose degrees sum up to at most `degree`."""
    channels = sorted(
        (element, n, l)
        for element in range(n_elements)
        for n in range(degree + 1)
        for l in range(degree - n + 1)  # noqa: E741
    )

    def extended(
        chosen: tuple[Channel, ...], begin: int, left: int
    ) -> Iterator[tuple[Channel, ...]]:
        if len(chosen) == n_densities:
            yield chosen
            return
        for place in range(begin, len(channels)):
            cost = channels[place][1] + channels[place][2]
            if cost <= left:
                yield from extended((*chosen, channels[place]), place, left - cost)

    for chosen in extended((), 0, degree):
        if sum(channel[2] for channel in chosen) % 2 == 0:
            yield chosen


def symmetric_invariants(channels: tuple[Channel, ...]) -> list[np.ndarray]:
    """Independent invariants of densities, which do not change when equal ones are exchanged.

    Each has an axis of length 2 l + 1 for each channel, and norm 1.
    """
    groups = [
        list(group) for _, group in itertools.groupby(range(len(channels)), channels.__getitem__)
    ]
    return _symmetric(tuple(c[2] for c in channels), tuple(len(group) for group in groups))


@functools.cache
def _symmetric(degrees: tuple[int, ...], lengths: tuple[int, ...]) -> list[np.ndarray]:
    tensors = [_symmetrised(tensor, lengths) for tensor in _coupled(degrees)]
    if not tensors:
        return []
    _, values, rows = np.linalg.svd(np.stack([t.ravel() for t in tensors]), full_matrices=False)
    kept = rows[values > _INDEPENDENT] if values[0] > _INDEPENDENT else rows[:0]
    return [row.reshape(tensors[0].shape) for row in kept]


def _coupled(degrees: tuple[int, ...]) -> list[np.ndarray]:
    """A basis of the invariants of harmonics of these l, by coupling them in pairs."""
    if len(degrees) == 1:
        return [np.ones(1)] if degrees == (0,) else []
    if len(degrees) == 2:
        first, second = degrees
        return [np.eye(2 * first + 1) / math.sqrt(2 * first + 1)] if first == second else []
    if len(degrees) == 3:
        first, second, third = degrees
        is_possible = abs(first - second) <= third <= first + second
        return [coupling_of(first, second, third)] if is_possible else []
    a, b, c, d = degrees
    between = range(max(abs(a - b), abs(c - d)), min(a + b, c + d) + 1)
    pairs = [(coupling_of(a, b, both), coupling_of(c, d, both)) for both in between]
    return [np.einsum("abx,cdx->abcd", *pair) for pair in pairs]


def _symmetrised(tensor: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """The mean over all exchanges of axes within groups of these lengths."""
    begins = np.cumsum([0, *lengths[:-1]])
    orders = [
        itertools.permutations(range(begin, begin + length))
        for begin, length in zip(begins, lengths, strict=True)
    ]
    moved = [tensor.transpose(sum(order, ())) for order in itertools.product(*orders)]
    return np.mean(moved, axis=0)


def _terms(
    channels: Sequence[Channel], invariant: np.ndarray, parts: Mapping[tuple[int, int], int]
) -> list[tuple[tuple[int, ...], float]]:
    """Products of densities and their factors; those with the same densities are one."""
    found: dict[tuple[int, ...], float] = {}
    for index in zip(*np.nonzero(np.abs(invariant) > 1e-12), strict=True):
        places = tuple(
            sorted(
                element * len(parts) + parts[n, degree**2 + int(m)]
                for (element, n, degree), m in zip(channels, index, strict=True)
            )
        )
        found[places] = found.get(places, 0.0) + float(invariant[index])
    return sorted((places, value) for places, value in found.items() if abs(value) > 1e-12)
