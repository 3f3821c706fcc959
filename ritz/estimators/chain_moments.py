"""Moments of each chain over all steps of an evaluation, for R-hat."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class ChainMoments(NamedTuple):
    """Moments of one quantity in each chain, over all steps."""

    count: Int[Array, ""]
    """Number of values in each chain."""
    mean: Float[Array, " n_chains"]
    m2: Float[Array, " n_chains"]
    """The sum of the squares of the deviations from `mean`."""

    @classmethod
    def empty(cls, n_chains: int, sharding: jax.sharding.Sharding | None = None) -> "ChainMoments":
        """Moments of no values.

        Args:
            n_chains: Number of chains.
            sharding: Layout of the chains over devices.
        """
        mean, m2 = (jax.device_put(jnp.zeros(n_chains), sharding) for _ in range(2))
        return cls(jnp.zeros((), int), mean, m2)

    def with_values(self, values: Float[Array, "n_chains n"]) -> "ChainMoments":
        """The moments with more values added (Chan, Golub, LeVeque 1983, eq. 2.1)."""
        n_new = values.shape[1]
        mean = jnp.mean(values, axis=1)
        m2 = jnp.sum((values - mean[:, None]) ** 2, axis=1)
        count, shift = self.count + n_new, mean - self.mean
        return ChainMoments(
            count,
            self.mean + shift * n_new / count,
            self.m2 + m2 + shift**2 * self.count * n_new / count,
        )
