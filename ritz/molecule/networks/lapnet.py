"""The LapNet."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count
from ritz.molecule.networks.attention import Attention
from ritz.molecule.networks.features import nucleus_features
from ritz.molecule.networks.slater_network import SlaterNetwork, spins


class LapNet(SlaterNetwork):
    """The LapNet (Li et al., Nat. Mach. Intell. 6, 209, 2024; arXiv 2307.08214).

    Electrons attend to each other as in the Psiformer, but queries and keys come from a second
    stream of features, in which each electron sees the nuclei only. Attention weights then depend
    on two electrons each, which makes the forward Laplacian cheaper. Only values, and with them
    the features in the orbitals, depend on all electrons.
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
        self.one_electron_layers = [dense(True) for _ in range(self.n_layers - 1)]

    @override
    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        n = len(electrons)
        inputs = nucleus_features(electrons[:, None] - nuclei).reshape(n, -1)
        spin = jnp.asarray(spins(self.molecule.n_up, n), electrons.dtype)[:, None]
        one = features = self.first(jnp.concatenate([inputs, spin], axis=-1))
        for layer, attention in enumerate(self.attentions):
            features = features + attention(one, features)
            features = features + jnp.tanh(self.hidden_layers[layer](features))
            if layer < len(self.one_electron_layers):
                one = one + jnp.tanh(self.one_electron_layers[layer](one))
        return features
