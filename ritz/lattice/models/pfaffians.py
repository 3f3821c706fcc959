"""Logarithms of Pfaffians by Parlett and Reid's elimination."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ritz.lattice.models.determinants import SignAndLog, derivative_of_log


@jax.custom_jvp
def log_pfaffian(matrix: Inexact[Array, "*batch n n"]) -> SignAndLog:
    """Sign and log of the modulus of the Pfaffians of antisymmetric matrices.

    Parlett and Reid's elimination with pivoting, after Wimmer, ACM Trans. Math. Softw. 38, 30
    (2012): each pair of rows is removed by a congruence, and gives one factor. n^3/3 operations.
    The derivative is tr(A^-1 dA) / 2; where the Pfaffian is exactly zero it is 0 instead of NaN.

    Args:
        matrix: Antisymmetric, of even size. It is not checked that it is antisymmetric.

    Returns:
        The sign (a phase factor for complex matrices, 0 for a vanishing Pfaffian), and the
        logarithm of the modulus.

    Raises:
        ValueError: If the matrices are not square, or their size is odd.
    """
    n = matrix.shape[-1]
    if matrix.ndim < 2 or matrix.shape[-2] != n or n % 2:
        raise ValueError(
            f"Pfaffians are those of square matrices of even size, but the shape {matrix.shape} "
            "was given."
        )
    sign = jnp.ones(matrix.shape[:-2], matrix.dtype)
    log = jnp.zeros(matrix.shape[:-2], jnp.finfo(matrix.dtype).dtype)
    for _ in range(n // 2):
        pivot, swapped, matrix = _eliminate(matrix)
        size = jnp.abs(pivot)
        unit = jnp.where(size == 0, 0, pivot / jnp.where(size == 0, 1, size))
        sign = sign * jnp.where(swapped, -unit, unit)
        log = log + jnp.log(size)
    return sign, log


@log_pfaffian.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[SignAndLog, SignAndLog]:
    sign, log = log_pfaffian(*primals)
    return (sign, log), derivative_of_log(*primals, *tangents, sign, power=0.5)


def _eliminate(
    matrix: Inexact[Array, "*batch m m"],
) -> tuple[Inexact[Array, "*batch"], Array, Inexact[Array, "*batch m-2 m-2"]]:
    """Pivot of the first row, whether it was moved to the second column, and the remaining matrix.

    With the pivot a = A[0, p], A + t v^T - v t^T with t = A[0] / a and v = A[:, p] has no elements
    in the rows and columns 0 and p. Those of 1 take the place of p.
    """
    row = matrix[..., 0, :]
    place = jnp.argmax(jnp.abs(row[..., 1:]), axis=-1) + 1
    here = jnp.arange(matrix.shape[-1]) == place[..., None]
    pivot = jnp.sum(jnp.where(here, row, 0), axis=-1)
    column = jnp.sum(jnp.where(here[..., None, :], matrix, 0), axis=-1)
    factor = row / jnp.where(pivot == 0, 1, pivot)[..., None]
    outer = factor[..., :, None] * column[..., None, :]
    reduced = matrix + outer - jnp.swapaxes(outer, -1, -2)
    reduced = jnp.where(here[..., :, None], reduced[..., 1:2, :], reduced)
    reduced = jnp.where(here[..., None, :], reduced[..., :, 1:2], reduced)
    return pivot, place != 1, reduced[..., 2:, 2:]
