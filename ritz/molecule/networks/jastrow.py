"""Factors that make the cusps between electrons exact, and correlate them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.molecule.networks.envelopes import inverse_softplus
from ritz.molecule.networks.features import norm


class ElectronCusp(nn.Module):
    """-sum_ij c a^2 / (a + r_ij): exact electron-electron cusps for every positive a.

    The slope c at r_ij = 0 is 1/4 for equal spins and 1/2 for different ones (Kato, Comm. Pure
    Appl. Math. 10, 151, 1957; Pack and Byers Brown, J. Chem. Phys. 45, 556, 1966).

    Args:
        n_up: Number of electrons with spin up, which come first.
        dtype: Type of the numbers.
    """

    n_up: int
    dtype: np.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, electrons: Float[Array, "n_electrons 3"]) -> Float[Array, ""]:
        """The logarithm of the factor."""
        begin = float(inverse_softplus(1.0))
        names = "equal", "different"
        equal, different = (
            jax.nn.softplus(self.param(name, lambda _: jnp.asarray(begin, self.dtype)))
            for name in names
        )
        n = len(electrons)
        if n == 1:
            return jnp.zeros((), self.dtype)
        is_up = np.arange(n) < self.n_up
        same = is_up[:, None] == is_up
        # All pairs, each twice: the forward Laplacian knows no sparsity of coordinates by index.
        distances = norm(electrons[:, None] - electrons)
        a = jnp.where(same, equal, different)
        slope = jnp.asarray(np.where(same, 0.25, 0.5) * (1 - np.eye(n)) / 2, self.dtype)
        return -jnp.sum(slope * a**2 / (a + distances))


class LearnedJastrow(nn.Module):
    """A factor exp(sum_i f(h_i)) with a small network f of the features of each electron.

    It begins as 1, and has no cusps of its own, since features have none.

    Args:
        width: Width of the hidden layer.
        dtype: Type of the numbers.
    """

    width: int = 32
    dtype: np.dtype | type = jnp.float32

    @nn.compact
    @override
    def __call__(self, features: Float[Array, "n_electrons width"]) -> Float[Array, ""]:
        """The logarithm of the factor."""
        hidden = jnp.tanh(nn.Dense(self.width, dtype=self.dtype, param_dtype=self.dtype)(features))
        last = nn.Dense(
            1,
            dtype=self.dtype,
            param_dtype=self.dtype,
            kernel_init=nn.initializers.zeros,
            use_bias=False,
        )
        return jnp.sum(last(hidden))
