"""Functions of distances and directions that features are made of: cutoffs, polynomials."""

import functools
import itertools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ritz.mlip.arrays import AnyArray


def cosine_cutoff(distances: Array, cutoff: Array | float) -> Array:
    """(cos(pi d / Rc) + 1) / 2 below the cutoff, 0 beyond.

    `cosine_of_squares` is the same function of squares, for those who need no distances.
    """
    inside = jnp.minimum(distances / cutoff, 1)
    return jnp.where(distances < cutoff, (jnp.cos(math.pi * inside) + 1) / 2, 0)


_COSINE = np.array(
    [(-1) ** n * (math.pi / 2) ** (2 * n) / math.factorial(2 * n) for n in range(12)]
)
"""cos(pi sqrt(t) / 2) in powers of t; what is left out is below 1e-17 up to t = 1."""


def cosine_of_squares(squares: Array, cutoff: Array | float) -> tuple[Array, Array]:
    """`cosine_cutoff` of the squares of distances, and its derivative by the squares.

    (cos(pi d / Rc) + 1) / 2 = cos(pi d / 2 Rc)^2, with the cosine as a power series, which takes
    less time than JAX's cosine in double precision.
    """
    t = jnp.minimum(squares / cutoff**2, 1)
    cosine, slope = jnp.full_like(t, _COSINE[-1]), jnp.zeros_like(t)
    for coefficient in _COSINE[-2::-1]:
        cosine, slope = cosine * t + coefficient, slope * t + cosine
    inside = squares < cutoff**2
    value, slope = cosine**2, 2 * cosine * slope / cutoff**2
    return jnp.where(inside, value, 0), jnp.where(inside, slope, 0)


def tanh3_of_squares(squares: Array, cutoff: Array | float) -> tuple[Array, Array]:
    """tanh(1 - d / Rc)^3 below the cutoff, 0 beyond, and its derivative by the square of d."""
    distances = jnp.sqrt(jnp.maximum(squares, 1e-12))
    tanh = jnp.tanh(jnp.maximum(1 - distances / cutoff, 0))
    return tanh**3, -3 * tanh**2 * (1 - tanh**2) / (2 * cutoff * distances)


CUTOFFS: dict[str, Callable[[Array, Array | float], tuple[Array, Array]]] = {
    "cosine": cosine_of_squares,
    "tanh3": tanh3_of_squares,
}
"""Cutoff functions of squares of distances with their derivatives; n2p2's types 1 and 2."""


def lengths(
    vectors: Float[AnyArray, "*rows 3"], pairs: Bool[AnyArray, "*rows"]
) -> tuple[Float[Array, "*rows"], Bool[Array, "*rows"]]:
    """The lengths of vectors, and where there is a pair whose vector is not zero.

    Elsewhere lengths are 1, so that derivatives are finite.
    """
    squares = jnp.sum(vectors**2, axis=-1)
    there = jnp.asarray(pairs) & (squares > 0)
    return jnp.sqrt(jnp.where(there, squares, 1)), there


def unit_vectors(
    vectors: Float[AnyArray, "*rows 3"],
    distances: Float[Array, "*rows"],
    pairs: Bool[AnyArray, "*rows"],
) -> Float[Array, "*rows 3"]:
    """Vectors over their lengths; zero where there is no pair."""
    return jnp.where(pairs[..., None], vectors / distances[..., None], 0)


def chebyshev_polynomials(x: Array, order: int) -> list[Array]:
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


def monomials_of(
    units: Float[Array, "*rows n 3"], order: int
) -> Float[Array, "*rows n_monomials n"]:
    """u_x^a u_y^b u_z^c of unit vectors u, up to degree a + b + c = `order`."""
    powers = [
        list(itertools.accumulate([x] * order, jnp.multiply, initial=jnp.ones_like(x)))
        for x in (units[..., axis] for axis in range(3))
    ]
    found = [powers[0][a] * powers[1][b] * powers[2][c] for a, b, c in exponents_up_to(order)]
    return jnp.stack(found, axis=-2)


@functools.cache
def contraction_of(order: int) -> np.ndarray:
    """Coefficients of T_n(u . v) in products of monomials in u and v, (order + 1, n_monomials).

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
    """Derivatives of monomials by u_x, u_y and u_z.

    For each axis and monomial of lower degree: which monomial has it as its derivative, and with
    which factor, both of shape (3, n_lower).
    """
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
