"""Whether permutations are a group, and numbers a character of it."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Inexact, Int
from netket.utils import HashableArray
from netket.utils.group import PermutationGroup

LARGEST = 2**24
"""Number of entries of all products of two elements up to which they are multiplied out (a fraction
of a second, once for each group): space groups of squares up to 8 x 8."""

_HINT = (
    "give a group of NetKet, such as graph.space_group(), or an array of permutations, shape "
    "(n_elements, n_sites)"
)


def as_group(given: Any) -> Any:
    """A group of NetKet as it is, permutations as a hashable array.

    Raises:
        TypeError: If it is neither.
        ValueError: If rows are no permutations.
    """
    if given is None or isinstance(given, HashableArray | PermutationGroup):
        return given
    try:
        array = np.asarray(given)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"group takes permutations, but {given!r} was given; {_HINT}.")
    if array.ndim != 2 or np.any(np.sort(array, axis=-1) != np.arange(array.shape[-1])):
        raise ValueError(
            f"group takes permutations, but an array of shape {array.shape} was given whose rows "
            f"are none; {_HINT}."
        )
    return HashableArray(array)


def as_character(given: Any) -> HashableArray | None:
    """Numbers as a hashable array.

    Raises:
        TypeError: If they are no numbers.
    """
    if given is None or isinstance(given, HashableArray):
        return given
    array = np.asarray(given)
    if not np.issubdtype(array.dtype, np.number) or not np.all(np.isfinite(array)):
        raise TypeError(
            f"character takes a finite number for each element of the group, but {given!r} was "
            "given; take a row of group.character_table()."
        )
    return HashableArray(array)


def on_sites(group: Any) -> Int[np.ndarray, "n_elements n_sites"]:
    """Arrays p with g^-1 x = x[p]."""
    if isinstance(group, PermutationGroup):
        # NetKet's arrays are those of (g x) = x[p].
        return np.argsort(group.to_array(), axis=1)
    return np.asarray(group.wrapped)


@functools.lru_cache(maxsize=64)
def check_group(group: Any, character: HashableArray | None) -> None:
    """Refuse permutations that are no group, and numbers that are no character of it.

    The character of an irreducible representation depends on the class alone, chi(ab) = chi(ba),
    and sum_g chi(g) chi(g^-1 h) is chi(h) |G| / chi(1), so that the projection repeated is itself.
    That also holds, with another factor, for sums of characters of the same dimension.

    Args:
        group: From `as_group`.
        character: From `as_character`; None for 1.

    Raises:
        ValueError: If products of elements are missing, or numbers are no character.
    """
    permutations = on_sites(group)
    n, n_sites = permutations.shape
    values = np.ones(n) if character is None else np.asarray(character.wrapped)
    if values.shape != (n,):
        raise ValueError(
            f"character must have one number for each of the {n} elements of the group, but "
            f"its shape is {values.shape}."
        )
    if n**2 * n_sites > LARGEST:
        return
    # Small lattices have each element several times: reflections of two sites do nothing.
    differing, place, counts = np.unique(
        permutations, axis=0, return_inverse=True, return_counts=True
    )
    if np.any(counts != counts[0]):
        raise ValueError(
            f"group has {n} elements, of which {len(counts)} differ, and some are there more often "
            "than others; give each once."
        )
    products = _products(differing)
    if character is not None:
        means = np.zeros(len(counts), complex)
        np.add.at(means, place.ravel(), values / counts[0])
        identity = int(np.argmax(np.all(differing == np.arange(n_sites), axis=1)))
        _check_character(means, products, identity)


def _products(permutations: Int[np.ndarray, "n n_sites"]) -> Int[np.ndarray, "n n"]:
    """The place of the product of each two elements.

    Raises:
        ValueError: If it is not there.
    """
    weights = np.random.default_rng(0).integers(2**62, size=permutations.shape[1])
    keys = permutations @ weights  # a number for each permutation, modulo 2^64
    order = np.argsort(keys)
    known = keys[order]
    of_products = np.stack([one[permutations] @ weights for one in permutations])
    place = np.minimum(np.searchsorted(known, of_products), len(keys) - 1)
    missing = np.argwhere(known[place] != of_products)
    if len(missing):
        a, b = missing[0]
        one, other = permutations[a].tolist(), permutations[b].tolist()
        raise ValueError(
            f"group is not closed: it has {one} and {other}, but not their product "
            f"{permutations[a][permutations[b]].tolist()}; {_HINT}, of a whole group."
        )
    return order[place]


def _check_character(
    values: Inexact[np.ndarray, " n"], products: Int[np.ndarray, "n n"], identity: int
) -> None:
    wrong = None
    size = np.abs(values).max()
    dimension = values[identity]
    pairs: Any = np.outer(values, values).ravel()
    parts = (np.bincount(products.ravel(), part, len(values)) for part in (pairs.real, pairs.imag))
    twice = np.sum([unit * part for unit, part in zip((1, 1j), parts, strict=True)], axis=0)
    if not (dimension.real > 0 and abs(dimension.imag) < 1e-5 * size):
        shown = dimension if dimension.imag else dimension.real
        wrong = f"it is {shown:g} for the identity, not a dimension"
    elif np.abs(values[products] - values[products.T]).max() > 1e-5 * size:
        wrong = "it differs within a class, for two elements ab and ba"
    elif np.abs(twice - values * twice[identity] / dimension).max() > 1e-5 * size**2 * len(values):
        wrong = "the projection with it, repeated, is another one"
    if wrong:
        raise ValueError(
            f"character is none of an irreducible representation of the group: {wrong}; take a row "
            "of group.character_table(), or exp(1j * k * n) for translations by n of L sites, with "
            "k a multiple of 2 pi / L."
        )
