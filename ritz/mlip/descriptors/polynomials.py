"""Polynomials of distances and directions."""

import functools
import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np


def chebyshev_polynomials(x: Any, order: int) -> list[Any]:
    """Chebyshev polynomials of the first kind up to `order`."""
    found = [jnp.ones_like(x), x]
    for _ in range(order - 1):
        found.append(2 * x * found[-1] - found[-2])
    return found[: order + 1]


@functools.cache
def exponents_up_to(order: int) -> tuple[tuple[int, int, int], ...]:
    """Exponents (a, b, c) of monomials in three variables, by degree."""
    return tuple(
        (a, b, degree - a - b)
        for degree in range(order + 1)
        for a in range(degree, -1, -1)
        for b in range(degree - a, -1, -1)
    )


def monomials_of(units: Any, order: int) -> Any:
    """u_x^a u_y^b u_z^c up to degree `order`, (..., n, 3) -> (..., n_monomials, n)."""
    powers = [
        list(itertools.accumulate([units[..., axis]] * order, jnp.multiply,
                                  initial=jnp.ones_like(units[..., axis])))
        for axis in range(3)
    ]  # fmt: skip
    found = [powers[0][a] * powers[1][b] * powers[2][c] for a, b, c in exponents_up_to(order)]
    return jnp.stack(found, axis=-2)


@functools.cache
def contraction_of(order: int) -> np.ndarray:
    """How products of monomials in u and v make up T_n(u . v), by n and monomial.

    (u . v)^l = sum of l! / (a! b! c!) u^(a, b, c) v^(a, b, c) over a + b + c = l.
    """
    exponents = exponents_up_to(order)
    found = np.zeros((order + 1, len(exponents)))
    for n in range(order + 1):
        in_powers = np.polynomial.chebyshev.cheb2poly([0] * n + [1])
        for column, (a, b, c) in enumerate(exponents):
            degree = a + b + c
            if degree < len(in_powers):
                ways = math.factorial(degree) / math.prod(map(math.factorial, (a, b, c)))
                found[n, column] = in_powers[degree] * ways
    return found


@functools.cache
def differentiation_of(order: int) -> tuple[np.ndarray, np.ndarray]:
    """By axis and monomial of lower degree: which one has it as derivative, and times what."""
    exponents = exponents_up_to(order)
    known = {powers: column for column, powers in enumerate(exponents)}
    lower = [powers for powers in exponents if sum(powers) < order]
    sources = np.zeros((3, len(lower)), int)
    factors = np.zeros((3, len(lower)))
    for axis in range(3):
        for column, powers in enumerate(lower):
            raised = list(powers)
            raised[axis] += 1
            sources[axis, column] = known[raised[0], raised[1], raised[2]]
            factors[axis, column] = raised[axis]
    return sources, factors
