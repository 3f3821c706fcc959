"""3x3 matrices without calls to LAPACK, each of which costs more than the arithmetic."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def volume(cell: Float[Array, "... 3 3"]) -> Float[Array, "..."]:
    """Volume of a cell: the magnitude of the triple product of its rows."""
    return jnp.abs(_determinant(cell))


def _determinant(matrix: jax.Array) -> jax.Array:
    return jnp.sum(matrix[..., 0, :] * jnp.cross(matrix[..., 1, :], matrix[..., 2, :]), axis=-1)


def inverse(matrix: Float[Array, "... 3 3"]) -> Float[Array, "... 3 3"]:
    """Inverse by Cramer's rule: its columns are cross products of the rows."""
    a, b, c = matrix[..., 0, :], matrix[..., 1, :], matrix[..., 2, :]
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-1)
    return columns / _determinant(matrix)[..., None, None]


def exponential(matrix: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Matrix exponential: the Taylor series of matrix/64 to order 8, squared six times.

    Exact to rounding for the strains of a cell: the remainder is below |matrix/64|^9 / 9!.
    """
    small = matrix / 64
    identity = jnp.eye(3, dtype=matrix.dtype)
    result = identity
    for order in range(8, 0, -1):
        result = identity + small @ result / order
    for _ in range(6):
        result = result @ result
    return result
