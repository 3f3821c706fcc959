"""Solving with the damped curvature of blocks."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact

from ritz.updates.kfac.curvature import Curvature
from ritz.updates.solvers import Cholesky

_cholesky = Cholesky(fallback=None)  # a damped matrix is positive

Solve = Callable[[Array, Array], Array]
"""`(matrix or its inverse, right-hand side) -> solution`."""


def damped(curvature: Curvature, shift: ArrayLike) -> Curvature:
    """A curvature plus `shift` times the identity, in the same form.

    For a product A x G, it is (A + pi sqrt(shift)) x (G + sqrt(shift) / pi), with pi^2 the ratio of
    the mean eigenvalues (Martens and Grosse, arXiv 1503.05671, section 6.3). A matrix of one number
    needs no shift of its own: that of the other one is exact then.
    """
    if len(curvature) == 1:
        [matrix] = curvature
        return (matrix + shift * (1 if matrix.ndim == 1 else jnp.eye(len(matrix))),)
    a, g, *means = curvature
    if len(g) == 1:
        return a * g[0, 0] + shift * jnp.eye(len(a)), jnp.ones_like(g), *means
    if len(a) == 1:
        return jnp.ones_like(a), g * a[0, 0] + shift * jnp.eye(len(g)), *means
    mean_a, mean_g = (jnp.trace(m).real / len(m) for m in (a, g))
    is_good = (mean_a > 0) & (mean_g > 0)
    pi = jnp.sqrt(jnp.where(is_good, mean_a / jnp.where(is_good, mean_g, 1), 1))
    root = jnp.sqrt(shift)
    return a + pi * root * jnp.eye(len(a)), g + root / pi * jnp.eye(len(g)), *means


def solved(
    curvature: Curvature, gradient: Inexact[Array, "..."], solve: Solve
) -> Inexact[Array, "..."]:
    """The solution x of (damped curvature) x = gradient.

    Args:
        curvature: From `damped`, or from `inverted`.
        gradient: The matrix of a layer, or a vector.
        solve: `by_cholesky`, or `by_inverse` for a curvature from `inverted`.
    """
    if len(curvature) == 1:
        return solve(curvature[0], gradient)
    a, g = curvature[:2]
    found = solve(g, solve(a, gradient).T).T
    if len(curvature) == 2:
        return found
    mean_input, mean_slope = curvature[2:]
    of_input, of_slope = solve(a, mean_input), solve(g, mean_slope.T).T
    return _without_mean(found, mean_input, mean_slope, of_input, of_slope)


def _without_mean(
    found: Inexact[Array, "n_rows n_outputs"],
    mean_input: Inexact[Array, " n_rows"],
    mean_slope: Inexact[Array, "n_parts n_outputs"],
    of_input: Inexact[Array, " n_rows"],
    of_slope: Inexact[Array, "n_parts n_outputs"],
) -> Inexact[Array, "n_rows n_outputs"]:
    """The solution with A x G - sum_p u_p u_p^+, u_p = mean_input mean_slope_p^T (Woodbury).

    Never singular: u^+ (A x G)^-1 u is below one, as each of A and G is at least the square of its
    mean over the same samples.

    Args:
        found: The solution with A x G.
        mean_input: From `LayerSums`.
        mean_slope: From `LayerSums`.
        of_input: A^-1 mean_input.
        of_slope: G^-1 mean_slope, for each part.
    """
    along = (mean_slope.conj() @ found.T) @ mean_input.conj()
    overlap = jnp.vdot(mean_input, of_input) * (mean_slope.conj() @ of_slope.T)
    weights = jnp.linalg.solve(jnp.eye(len(overlap)) - overlap, along)
    return found + jnp.outer(of_input, weights @ of_slope)


def by_cholesky(matrix: Array, rhs: Array) -> Array:
    """The solution with a matrix, or with a diagonal."""
    if matrix.ndim == 1 or len(matrix) == 1:
        return rhs / jnp.ravel(matrix)
    number: Any = jnp.result_type(matrix, rhs)
    return _cholesky(matrix.astype(number), rhs.astype(number))[0]


def by_inverse(inverse: Array, rhs: Array) -> Array:
    """The solution, given the inverse of a matrix, or of a diagonal."""
    return inverse * rhs if inverse.ndim == 1 else inverse @ rhs


def inverted(curvature: Curvature) -> Curvature:
    """A damped curvature with the inverses of its matrices, or of its diagonal; means stay."""
    inverses = [
        1 / matrix if matrix.ndim == 1 else by_cholesky(matrix, jnp.eye(len(matrix)))
        for matrix in curvature[:2]
    ]
    return *inverses, *curvature[2:]
