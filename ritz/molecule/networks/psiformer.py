"""The Psiformer."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.molecule.networks.attention import AttentionNetwork


class Psiformer(AttentionNetwork):
    """The Psiformer (von Glehn, Spencer and Pfau, arXiv 2211.13672).

    Electrons attend to each other; their features are those of the vectors to the nuclei and their
    spins.
    """

    @override
    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        features = self.first_features(electrons, nuclei)
        for attention, hidden in zip(self.attentions, self.hidden_layers, strict=True):
            features = features + attention(features, features)
            features = features + jnp.tanh(hidden(features))
        return features
