"""The Psiformer."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count
from ritz.molecule.networks.attention import Attention
from ritz.molecule.networks.features import nucleus_features
from ritz.molecule.networks.slater_network import SlaterNetwork, spins


class Psiformer(SlaterNetwork):
    """The Psiformer (von Glehn, Spencer and Pfau, arXiv 2211.13672).

    Electrons attend to each other; their features are those of the vectors to the nuclei and their
    spins.
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
        width = self.n_heads * self.head_width

        def dense(use_bias: bool) -> nn.Dense:
            return nn.Dense(width, use_bias=use_bias, dtype=self.dtype, param_dtype=self.dtype)

        self.first = dense(False)
        self.attentions = [
            Attention(self.n_heads, self.head_width, self.dtype) for _ in range(self.n_layers)
        ]
        self.hidden_layers = [dense(True) for _ in range(self.n_layers)]

    @override
    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        n = len(electrons)
        inputs = nucleus_features(electrons[:, None] - nuclei).reshape(n, -1)
        spin = jnp.asarray(spins(self.molecule.n_up, n), electrons.dtype)[:, None]
        features = self.first(jnp.concatenate([inputs, spin], axis=-1))
        for attention, hidden in zip(self.attentions, self.hidden_layers, strict=True):
            features = features + attention(features, features)
            features = features + jnp.tanh(hidden(features))
        return features
