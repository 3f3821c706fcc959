"""From the features of cells to log psi."""

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal, zeros
from jaxtyping import Array, Float, Inexact
from netket.nn.activation import log_cosh

OUTSET = 0.1
"""Standard deviation of the terms of log psi, for features of order one, with which training
begins: an amplitude that is nearly even over all configurations."""


class Amplitude(nn.Module):
    """Log psi = w . s, or w . s + sum_k log cosh(u_k . s + i v_k . s + b_k), s summed over cells.

    Translations of the features leave it as it is. The logarithms of the complex form have zeros of
    psi between signs, as the phases of frustrated magnets need.

    Args:
        complex_output: Whether log psi is complex; otherwise psi is positive.
        param_dtype: Type of the parameters, which are real.
    """

    complex_output: bool = False
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, y: Float[Array, "*batch n_cells width"]) -> Inexact[Array, "*batch"]:
        """Log psi of the features of all cells."""
        width, summed = y.shape[-1], jnp.sum(y, axis=-2)
        init = normal(OUTSET)
        weights = self.param("amplitude", init, (width,), self.param_dtype)
        # A product with a matrix of one column is slow on CPUs.
        log_psi = jnp.sum(summed * weights, axis=-1)
        if not self.complex_output:
            return log_psi
        init = normal(OUTSET / math.sqrt(width))
        real, imaginary = (
            nn.Dense(
                width,
                param_dtype=self.param_dtype,
                dtype=self.param_dtype,
                kernel_init=init,
                bias_init=normal(OUTSET) if part == "real" else zeros,
                name=f"phase_{part}",
            )(summed)
            for part in ("real", "imaginary")
        )
        return log_psi + jnp.sum(log_cosh(real + 1j * imaginary), axis=-1)
