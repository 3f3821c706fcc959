"""The product of a matrix with its own adjoint."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ritz.full_precision import in_full_precision

_BLOCKS = 4
_SMALLEST = 64
"""Blocks with fewer rows are not worth their overhead."""


@in_full_precision
def gram(rows: Inexact[Array, "n m"]) -> Inexact[Array, "n n"]:
    """`rows @ rows.conj().T`, from the blocks on and below the diagonal.

    Only ten of sixteen blocks are computed; the others are their adjoints.
    """
    n = rows.shape[0]
    if n < _BLOCKS * _SMALLEST:
        return rows @ rows.conj().T
    edges = np.linspace(0, n, _BLOCKS + 1).astype(int)
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    lower = {(i, j): parts[i] @ parts[j].conj().T for i in range(_BLOCKS) for j in range(i + 1)}
    return jnp.block(
        [
            [lower[i, j] if j <= i else lower[j, i].conj().T for j in range(_BLOCKS)]
            for i in range(_BLOCKS)
        ]
    )


def materialised(matrix: Array) -> Array:
    """Keep the compiler from computing `matrix` within a product, which slows the product down."""
    return jax.lax.optimization_barrier(matrix)
