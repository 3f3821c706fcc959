"""The LapNet."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.molecule.networks.attention import AttentionNetwork


class LapNet(AttentionNetwork):
    """The LapNet (Li et al., Nat. Mach. Intell. 6, 209, 2024; arXiv 2307.08214).

    Electrons attend to each other as in the Psiformer, but queries and keys come from a second
    stream of features, in which each electron sees the nuclei only. Attention weights then depend
    on two electrons each, which makes the forward Laplacian cheaper. Only values, and with them
    the features in the orbitals, depend on all electrons.
    """

    @override
    def make_layers(self) -> None:
        super().make_layers()
        self.one_electron_layers = [self.dense() for _ in range(self.n_layers - 1)]

    @override
    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        one = features = self.first_features(electrons, nuclei)
        for layer, attention in enumerate(self.attentions):
            features = features + attention(one, features)
            features = features + jnp.tanh(self.hidden_layers[layer](features))
            if layer < len(self.one_electron_layers):
                one = one + jnp.tanh(self.one_electron_layers[layer](one))
        return features
