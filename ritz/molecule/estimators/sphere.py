"""Quadratures of the unit sphere with the symmetry of the octahedron or icosahedron."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

EXACT_UP_TO = {6: 3, 12: 5, 18: 5, 26: 7, 50: 11}
"""Number of points -> largest l of the spherical harmonics that are integrated exactly."""

_WEIGHTS = {
    6: {(1, 0, 0): 1 / 6},
    18: {(1, 0, 0): 1 / 30, (1, 1, 0): 1 / 15},
    26: {(1, 0, 0): 1 / 21, (1, 1, 0): 4 / 105, (1, 1, 1): 27 / 840},
    50: {
        (1, 0, 0): 4 / 315,
        (1, 1, 0): 64 / 2835,
        (1, 1, 1): 27 / 1280,
        (1, 1, 3): 14641 / 725760,
    },
}
"""Weights of the points in these directions and all that are equivalent to them (McLaren, Math.
Comp. 17, 361, 1963; Mitas, Shirley and Ceperley, J. Chem. Phys. 95, 3467, 1991, table I)."""


@functools.lru_cache
def quadrature(n_points: int) -> tuple[Float[np.ndarray, "n_points 3"], Float[np.ndarray, " n"]]:
    """Unit vectors and weights, whose sum is one.

    Args:
        n_points: One of `EXACT_UP_TO`.
    """
    if n_points == 12:  # the corners of an icosahedron
        golden = (1 + np.sqrt(5)) / 2
        corners = [(0, a, b * golden) for a in (1, -1) for b in (1, -1)]
        points = np.array([np.roll(corner, k) for corner in corners for k in range(3)])
        weights = np.full(12, 1 / 12)
    else:
        signs = list(itertools.product((1, -1), repeat=3))
        rows = [
            (point, weight)
            for direction, weight in _WEIGHTS[n_points].items()
            for point in sorted(
                {
                    tuple(s * x for s, x in zip(sign, place, strict=True))
                    for place in itertools.permutations(direction)
                    for sign in signs
                }
            )
        ]
        points = np.array([point for point, _ in rows], float)
        weights = np.array([weight for _, weight in rows])
    return points / np.linalg.norm(points, axis=1, keepdims=True), weights


def rotation(normal: Float[Array, "4"]) -> Float[Array, "3 3"]:
    """The rotation by a quaternion, uniform if its components are normally distributed."""
    square = jnp.sum(normal**2)
    unit = jnp.where(square > 0, normal, jnp.array([1.0, 0, 0, 0], normal.dtype))
    w, x, y, z = unit / jnp.sqrt(jnp.sum(unit**2))
    return jnp.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def legendre(degree: int, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The Legendre polynomial P_l(x), by Bonnet's recursion."""
    below, value = jnp.zeros_like(x), jnp.ones_like(x)
    for k in range(degree):
        below, value = value, ((2 * k + 1) * x * value - k * below) / (k + 1)
    return value
