"""The logarithm of a sum of Slater determinants."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

Matrices = Inexact[Array, "n_determinants n n"]

_LARGEST_CLOSED = 4
"""Determinants up to this size are computed by their formulae, which no singular matrix stops."""


def log_sum_of_determinants(blocks: Sequence[Matrices]) -> tuple[Array, Array]:
    """Sign and logarithm of sum_k prod_s det(blocks[s][k]).

    Each row is divided by its largest entry, so that small matrices stay out of the log domain
    without underflow: a single electron in an orbital near its node is finite.

    Args:
        blocks: For each group of electrons, its matrices; rows are electrons. Empty ones count 1.

    Returns:
        The sign, a phase if they are complex, and the logarithm of the absolute value.
    """
    log_scale: Array | float = 0.0
    sign, logs, small = None, None, None
    for block in blocks:
        n = block.shape[-1]
        if n == 0:
            continue
        row = jax.lax.stop_gradient(jnp.max(jnp.abs(block), axis=(0, 2)))
        row = jnp.where((row > 0) & jnp.isfinite(row), row, 1)
        log_scale = log_scale + jnp.sum(jnp.log(row))
        block = block / row[:, None]
        if n <= _LARGEST_CLOSED:
            value = determinant(block)
            small = value if small is None else small * value
        else:
            signs, values = jnp.linalg.slogdet(block)
            sign = signs if sign is None else sign * signs
            logs = values if logs is None else logs + values
    if logs is not None and sign is not None:
        shift = jax.lax.stop_gradient(jnp.max(logs))
        shift = jnp.where(jnp.isfinite(shift), shift, 0)
        terms = sign * jnp.exp(logs - shift)
        small = terms if small is None else small * terms
        log_scale = log_scale + shift
    assert small is not None, "there are no electrons"
    total = jnp.sum(small)
    return _sign_and_log(total, log_scale)


def _sign_and_log(total: Array, log_scale: Array | float) -> tuple[Array, Array]:
    if jnp.iscomplexobj(total):
        size = jnp.abs(total)
        return total / jnp.where(size > 0, size, 1), jnp.log(size) + log_scale
    return jnp.sign(total), jnp.log(jnp.abs(total)) + log_scale


def determinant(m: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch"]:
    """Determinants of matrices of at most four rows, by their formulae."""
    n = m.shape[-1]
    if n == 1:
        return m[..., 0, 0]
    if n == 2:
        return _minor(m, 0, 0, 1)
    if n == 3:
        return (
            m[..., 2, 0] * _minor(m, 0, 1, 2)
            - m[..., 2, 1] * _minor(m, 0, 0, 2)
            + m[..., 2, 2] * _minor(m, 0, 0, 1)
        )
    # Laplace's expansion by the first two rows.
    return (
        _minor(m, 0, 0, 1) * _minor(m, 2, 2, 3)
        - _minor(m, 0, 0, 2) * _minor(m, 2, 1, 3)
        + _minor(m, 0, 0, 3) * _minor(m, 2, 1, 2)
        + _minor(m, 0, 1, 2) * _minor(m, 2, 0, 3)
        - _minor(m, 0, 1, 3) * _minor(m, 2, 0, 2)
        + _minor(m, 0, 2, 3) * _minor(m, 2, 0, 1)
    )


def _minor(m: Inexact[Array, "*batch n n"], row: int, a: int, b: int) -> Array:
    """The minor of two neighbouring rows and the columns `a` and `b`."""
    return m[..., row, a] * m[..., row + 1, b] - m[..., row, b] * m[..., row + 1, a]
