"""Self-attention over electrons."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count
from ritz.molecule.networks.features import nucleus_features
from ritz.molecule.networks.slater_network import SlaterNetwork, spins


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


class AttentionNetwork(SlaterNetwork):
    """Base class of networks whose electrons attend to each other.

    A subclass implements `electron_features`, with `first_features`, `attentions` and
    `hidden_layers`.
    """

    n_layers: int = 4
    """Number of layers, each with attention and a layer of tanh."""
    n_heads: int = 4
    """Number of heads of the attention."""
    head_width: int = 64
    """Width of each head."""

    @override
    def make_layers(self) -> None:
        for name in ("n_layers", "n_heads", "head_width"):
            check_count(name, getattr(self, name), 1)
        self.first = self.dense(use_bias=False)
        self.attentions = [
            Attention(self.n_heads, self.head_width, self.dtype) for _ in range(self.n_layers)
        ]
        self.hidden_layers = [self.dense() for _ in range(self.n_layers)]

    def dense(self, use_bias: bool = True) -> nn.Dense:
        """A dense layer of the width of the features."""
        width = self.n_heads * self.head_width
        return nn.Dense(width, use_bias=use_bias, dtype=self.dtype, param_dtype=self.dtype)

    def first_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        """Features of each electron's vectors to the nuclei and its spin.

        Args:
            electrons: Positions in bohr, those with spin up first.
            nuclei: Positions in bohr.
        """
        n = len(electrons)
        inputs = nucleus_features(electrons[:, None] - nuclei).reshape(n, -1)
        spin = jnp.asarray(spins(self.molecule.n_up, n), electrons.dtype)[:, None]
        return self.first(jnp.concatenate([inputs, spin], axis=-1))
