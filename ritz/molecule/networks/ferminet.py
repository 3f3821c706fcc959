"""The Fermi net."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count
from ritz.molecule.networks.features import nucleus_features, pair_features
from ritz.molecule.networks.slater_network import SlaterNetwork, mean_by_spin


class _Mixing(nn.Module):
    """A linear function of several inputs, some of which all electrons share.

    The same as a dense layer on all inputs side by side, but what is shared is multiplied once.
    """

    width: int
    dtype: np.dtype | type

    @nn.compact
    def __call__(
        self, each: Float[Array, "n_electrons a"], shared: Float[Array, " b"]
    ) -> Float[Array, "n_electrons width"]:
        n_inputs = each.shape[-1] + shared.shape[-1]

        def dense(name: str, use_bias: bool) -> nn.Dense:
            return nn.Dense(
                self.width,
                use_bias=use_bias,
                kernel_init=nn.initializers.normal(n_inputs**-0.5),
                dtype=self.dtype,
                param_dtype=self.dtype,
                name=name,
            )

        found = dense("each", True)(each)
        return found + dense("shared", False)(shared) if shared.size else found


def _pairs(hidden: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """The widths of both streams in each layer, checked."""
    is_listed = isinstance(hidden, Sequence) and len(hidden) > 0
    if not is_listed or any(not isinstance(p, Sequence) or len(p) != 2 for p in hidden):
        raise ValueError(
            "hidden takes the widths of the two streams in each layer, such as [[256, 32], "
            f"[256, 32]], but {hidden!r} was given."
        )
    return tuple(tuple(check_count("a width in hidden", n, 1) for n in pair) for pair in hidden)


class FermiNet(SlaterNetwork):
    """The Fermi net (Pfau, Spencer, Matthews and Foulkes, Phys. Rev. Research 2, 033429, 2020).

    One stream of features for each electron and one for each pair; in each layer an electron sees
    the means of both streams over the electrons of each spin.
    """

    hidden: Sequence[tuple[int, int]] = ((256, 32),) * 4
    """Widths of the two streams in each layer."""

    def __post_init__(self) -> None:
        """Make the widths hashable, as lists in YAML are not.

        Raises:
            ValueError: If they are no pairs of positive numbers.
        """
        object.__setattr__(self, "hidden", _pairs(self.hidden))
        super().__post_init__()

    @override
    def make_layers(self) -> None:
        self.single_layers = [_Mixing(width, self.dtype) for width, _ in self.hidden]
        self.pair_layers = [
            nn.Dense(width, dtype=self.dtype, param_dtype=self.dtype)
            for _, width in self.hidden[:-1]
        ]

    @override
    def electron_features(
        self, electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Float[Array, "n_electrons width"]:
        n, n_up = len(electrons), self.molecule.n_up
        single = nucleus_features(electrons[:, None] - nuclei).reshape(n, -1)
        pair = pair_features(electrons[:, None] - electrons)
        for layer, mixing in enumerate(self.single_layers):
            of_pairs = mean_by_spin(pair, n_up) if n > 1 else []
            each = jnp.concatenate([single, *of_pairs], axis=-1)
            shared = jnp.concatenate(mean_by_spin(single, n_up)) if n > 1 else single[0, :0]
            new = jnp.tanh(mixing(each, shared))
            single = new + single if new.shape == single.shape else new
            if layer < len(self.pair_layers) and n > 1:
                new = jnp.tanh(self.pair_layers[layer](pair))
                pair = new + pair if new.shape == pair.shape else new
        return single
