"""Self-attention over electrons."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override


class Attention(nn.Module):
    """Attention over electrons, with several heads, then a linear layer.

    Args:
        n_heads: Number of heads.
        head_width: Width of each head.
        dtype: Type of the numbers.
    """

    n_heads: int
    head_width: int
    dtype: np.dtype | type

    @nn.compact
    @override
    def __call__(
        self, one: Float[Array, "n_electrons width"], features: Float[Array, "n_electrons width"]
    ) -> Float[Array, "n_electrons width"]:
        """New features of each electron.

        Args:
            one: Features that give queries and keys. If they depend on one electron each, a weight
                between two electrons depends on their coordinates alone.
            features: Features that give values.
        """
        shape = self.n_heads, self.head_width

        def project(name: str, inputs: Array) -> Array:
            layer = nn.DenseGeneral(
                shape, use_bias=False, dtype=self.dtype, param_dtype=self.dtype, name=name
            )
            return layer(inputs)

        query, key, value = project("query", one), project("key", one), project("value", features)
        root = jnp.sqrt(self.head_width).astype(self.dtype)
        weights = jax.nn.softmax(jnp.einsum("ihd,jhd->hij", query, key) / root, axis=-1)
        mixed = jnp.einsum("hij,jhd->ihd", weights, value).reshape(len(features), -1)
        width = features.shape[-1]
        return nn.Dense(width, use_bias=False, dtype=self.dtype, param_dtype=self.dtype)(mixed)
