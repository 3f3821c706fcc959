"""Logarithms of determinants and of sums of them, with finite derivatives where they vanish."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

SignAndLog = tuple[Inexact[Array, "*batch"], Float[Array, "*batch"]]
"""The sign (a phase factor for complex matrices; 0 for zero) and the logarithm of the modulus."""


@jax.custom_jvp
def log_determinant(matrix: Inexact[Array, "*batch n n"]) -> SignAndLog:
    """Sign and log of the modulus of determinants.

    They are those of `jnp.linalg.slogdet`. The derivative is tr(A^-1 dA); where the determinant is
    exactly zero it does not exist, and is 0 here instead of NaN.
    """
    sign, log = jnp.linalg.slogdet(matrix)
    return sign, log


@log_determinant.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[SignAndLog, SignAndLog]:
    sign, log = log_determinant(*primals)
    return (sign, log), derivative_of_log(*primals, *tangents, sign, power=1.0)


def derivative_of_log(
    matrix: Inexact[Array, "*batch n n"],
    change: Inexact[Array, "*batch n n"],
    sign: Inexact[Array, "*batch"],
    power: float,
) -> SignAndLog:
    """The change of sign and logarithm of det(A)^power: power tr(A^-1 dA), or 0 where sign is 0."""
    vanishes = sign == 0
    regular = jnp.where(vanishes[..., None, None], jnp.eye(matrix.shape[-1]), matrix)
    inverse = jnp.linalg.inv(regular)
    along = power * jnp.einsum("...ij,...ji->...", inverse, change)
    along = jnp.where(vanishes, 0, along)
    if jnp.iscomplexobj(along):
        return (1j * sign * along.imag).astype(sign.dtype), along.real
    return jnp.zeros_like(sign), along


def log_of_sum(sign: Inexact[Array, "*batch k"], log: Float[Array, "*batch k"]) -> SignAndLog:
    """Sign and log of the modulus of a sum over the last axis, of terms sign * exp(log)."""
    if log.shape[-1] == 1:
        return sign[..., 0], log[..., 0]
    largest = jax.lax.stop_gradient(jnp.max(log, axis=-1))
    largest = jnp.where(jnp.isneginf(largest), 0, largest)
    total = jnp.sum(sign * jnp.exp(log - largest[..., None]), axis=-1)
    size = jnp.abs(jnp.where(total == 0, 1, total))
    sign = jnp.sign(total) if jnp.isrealobj(total) else jnp.where(total == 0, 0, total / size)
    return sign, jnp.where(total == 0, -jnp.inf, largest + jnp.log(size))


def complex_log(
    sign: Inexact[Array, "*batch"], log: Float[Array, "*batch"]
) -> Complex[Array, "*batch"]:
    """The complex logarithm; of a real number its imaginary part is 0 or pi, for ever constant."""
    if jnp.isrealobj(sign):
        return jax.lax.complex(log, jnp.where(sign < 0, jnp.pi, 0).astype(log.dtype))
    phase = jnp.log(jnp.where(sign == 0, 1, sign)).imag
    return jax.lax.complex(log, phase)
