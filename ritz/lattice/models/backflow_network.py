"""The network by which orbitals depend on the configuration, and the Jastrow factor."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import netket as nk
from flax import linen as nn
from jaxtyping import Array, Bool, Inexact

DType = Any


class BackflowNetwork(nn.Module):
    """A perceptron with residual connections: occupations -> changes of orbitals.

    Args:
        features: Number of outputs.
        depth: Number of hidden layers.
        width: Units in each.
        scale: Standard deviation of the initial outputs, about.
        param_dtype: Type of the last layer's parameters; hidden layers are real.
    """

    features: int
    depth: int
    width: int
    scale: float = 0.05
    param_dtype: DType = float

    @nn.compact
    def __call__(self, occupied: Bool[Array, "n size"]) -> Inexact[Array, "n features"]:
        """Outputs for rows of occupations."""
        real = jnp.finfo(self.param_dtype).dtype
        x = jnp.where(occupied, 1, -1).astype(real)
        for layer in range(self.depth):
            new = nn.silu(nn.Dense(self.width, param_dtype=real, dtype=real)(x))
            x = new if layer == 0 else x + new
        return nn.Dense(
            self.features,
            param_dtype=self.param_dtype,
            dtype=self.param_dtype,
            use_bias=False,
            kernel_init=scaled_normal(self.scale),
        )(x)


def scaled_normal(scale: float) -> Callable[..., Array]:
    """Normal numbers with the standard deviation scale / sqrt(number of inputs)."""
    return nn.initializers.variance_scaling(scale**2, "fan_in", "normal")


def jastrow_factor(param_dtype: DType) -> Callable[[Bool[Array, "n size"]], Inexact[Array, " n"]]:
    """The logarithm sum_{i<j} v_ij n_i n_j of a Jastrow factor, which begins as 0."""
    factor = nk.models.Jastrow(
        param_dtype=param_dtype, kernel_init=nn.initializers.zeros, name="jastrow"
    )
    return lambda occupied: factor(occupied.astype(jnp.finfo(param_dtype).dtype))
