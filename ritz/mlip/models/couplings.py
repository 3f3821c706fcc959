"""Constants by which features of atoms are coupled to others that turn in a known way."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ritz.extras import needs


def e3nn() -> Any:
    """The module e3nn_jax, which has spherical harmonics and coefficients of their couplings.

    It is imported on the first call, since that takes seconds.

    Raises:
        ritz.extras.MissingExtra: If it is not installed.
    """
    with needs("MACE", "equivariant"):
        import e3nn_jax
    return e3nn_jax


class Path(NamedTuple):
    """One way in which harmonics of a direction and features of a neighbour make a message."""

    direction: int
    """Degree l1 of the spherical harmonics."""
    feature: int
    """Degree l2 of the features."""
    message: int
    """Degree l3 of the message."""
    coefficients: np.ndarray
    """Clebsch-Gordan coefficients, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), whose squares sum to 2 l3 + 1,
    so that the message is of the order of 1 where both factors are."""


@functools.cache
def message_paths(l_direction: int, l_feature: int, l_message: int) -> tuple[Path, ...]:
    """All paths up to three largest degrees, by the degree of the message.

    Features of degree l have the parity (-1)^l, so that l1 + l2 + l3 is even.
    """
    degrees = itertools.product(range(l_message + 1), range(l_direction + 1), range(l_feature + 1))
    return tuple(
        Path(one, two, three, math.sqrt(2 * three + 1) * e3nn().clebsch_gordan(one, two, three))
        for three, one, two in degrees
        if abs(one - two) <= three <= one + two and (one + two + three) % 2 == 0
    )


class Products(NamedTuple):
    """Symmetric products of a number of equal factors, coupled to features of given degrees.

    A product is one of components of the factor, which has all degrees up to some largest; only
    those products are listed that some coupling contains.
    """

    components: np.ndarray
    """The components of each product, (n_products, number of factors)."""
    couplings: dict[int, np.ndarray]
    """By degree l of the result: coefficients, (n_products, n_couplings, 2 l + 1). The result is
    of the order of 1 where the factor is."""


@functools.cache
def symmetric_products(l_max: int, n_factors: int, degrees: Sequence[int]) -> Products:
    """All independent couplings of symmetric products, a basis of generalised coefficients.

    Args:
        l_max: Largest degree of the factor, which has (l_max + 1)^2 components.
        n_factors: Number of factors.
        degrees: Degrees of the results; the parity of degree l is (-1)^l.
    """
    library = e3nn()
    factor = library.Irreps.spherical_harmonics(l_max)
    results = [library.Irrep(degree, (-1) ** degree) for degree in degrees]
    if n_factors == 1:
        full = np.eye(factor.dim)
        blocks = {
            degree: full[:, degree**2 : (degree + 1) ** 2][:, None]
            for degree in degrees
            if degree <= l_max
        }
    else:
        basis = library.reduced_symmetric_tensor_product_basis(factor, n_factors, keep_ir=results)
        full = np.asarray(basis.array, float)
        blocks = {
            part.ir.l: full[..., where].reshape(*full.shape[:-1], part.mul, part.ir.dim)
            for part, where in zip(basis.irreps, basis.irreps.slices(), strict=True)
        }
    listed = list(itertools.combinations_with_replacement(range(factor.dim), n_factors))
    places = tuple(np.array(listed).T)
    ways = np.array([_arrangements(components) for components in listed], float)
    rows = {
        degree: block[places] * ways[:, None, None] / math.sqrt(math.factorial(n_factors))
        for degree, block in blocks.items()
    }
    there = np.any([np.any(np.abs(row) > 1e-9, axis=(1, 2)) for row in rows.values()], axis=0)
    return Products(np.array(listed)[there], {degree: row[there] for degree, row in rows.items()})


def _arrangements(components: tuple[int, ...]) -> int:
    """Number of orders in which the factors of a product may be written."""
    repeated = math.prod(math.factorial(components.count(c)) for c in set(components))
    return math.factorial(len(components)) // repeated
