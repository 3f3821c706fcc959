"""Solving with the damped curvature of blocks."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ritz.updates.kfac.blocks import Block
from ritz.updates.kfac.curvature import Curvature
from ritz.updates.solvers import Cholesky


def damped(block: Block, curvature: Curvature, shift: ArrayLike) -> Curvature:
    """The curvature plus `shift` times the identity, in the form of the curvature.

    For a product A x G, it is (A + pi sqrt(shift)) x (G + sqrt(shift) / pi), with pi^2 the ratio of
    the mean eigenvalues (Martens and Grosse, arXiv 1503.05671, section 6.3). A matrix of one number
    needs no shift of its own: that of the other one is exact then.
    """
    if block.layer is None:
        [matrix] = curvature
        return (matrix + shift * (1 if matrix.ndim == 1 else jnp.eye(len(matrix))),)
    a, g = curvature
    if len(g) == 1:
        return a * g[0, 0] + shift * jnp.eye(len(a)), jnp.ones_like(g)
    if len(a) == 1:
        return jnp.ones_like(a), g * a[0, 0] + shift * jnp.eye(len(g))
    mean_a, mean_g = (jnp.trace(m).real / len(m) for m in (a, g))
    is_good = (mean_a > 0) & (mean_g > 0)
    pi = jnp.sqrt(jnp.where(is_good, mean_a / jnp.where(is_good, mean_g, 1), 1))
    root = jnp.sqrt(shift)
    return a + pi * root * jnp.eye(len(a)), g + root / pi * jnp.eye(len(g))


def solved(damped: Curvature, gradient: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The solution x of (damped curvature) x = gradient.

    Args:
        damped: From `damped`.
        gradient: The matrix of a layer, or a vector.
    """
    if damped[0].ndim == 1:
        return gradient / damped[0]
    if len(damped) == 1:
        return _solve(damped[0], gradient)
    a, g = damped
    return _solve(g, _solve(a, gradient).T).T


def _solve(matrix: Array, rhs: Array) -> Array:
    if len(matrix) == 1:
        return rhs / matrix[0, 0]
    number: Any = jnp.result_type(matrix, rhs)
    return Cholesky()(matrix.astype(number), rhs.astype(number))[0]


def inverted(matrix: Array) -> Array:
    """The inverse of a matrix of a damped curvature, or of a diagonal."""
    return 1 / matrix if matrix.ndim == 1 else _solve(matrix, jnp.eye(len(matrix)))


def multiplied(inverse: Curvature, gradient: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The inverses of a block's matrices times a gradient."""
    if inverse[0].ndim == 1:
        return inverse[0] * gradient
    if len(inverse) == 1:
        return inverse[0] @ gradient
    return inverse[0] @ gradient @ inverse[1].T
