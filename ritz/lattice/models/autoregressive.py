"""Autoregressive wave functions on spaces with fixed sums."""

from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jaxtyping import Array, Bool, Inexact, Num

from ritz.lattice.space import fixed_sums


class FixedSumARNN(nk.models.AbstractARNN):
    """An autoregressive network of NetKet that keeps the sums which its space fixes.

    At each site, states from which the sum cannot be reached any more have no probability, and the
    others are normalised again: Hibat-Allah et al., Phys. Rev. Research 2, 023358 (2020). Samples
    are drawn by `ritz.lattice.ARDirectSampler`. Log psi of configurations outside of the space is
    -inf. `hilbert` is a space with fixed sums: `total_sz`, `n_particles`, `n_fermions` or
    `n_fermions_per_spin`.

    All sites are evaluated for each that is drawn: NetKet's caches, as of `FastARNNConv1D`, are not
    used.

    Raises:
        TypeError: If `network` is not autoregressive.
        ValueError: If the space has other constraints, or the sites differ.
    """

    network: Any = None
    """NetKet's `ARNNDense`, `ARNNConv1D`, ... on the space with the same sites and no constraint:
    `ARNNDense(hilbert=netket.hilbert.Spin(0.5, 6), layers=2, features=8)`."""

    def __post_init__(self) -> None:
        network, hilbert = self.network, self.hilbert
        if not isinstance(network, nk.models.AbstractARNN):
            raise TypeError(
                "network must be an autoregressive model, such as netket.models.ARNNDense(hilbert="
                f"..., layers=2, features=8), but {network!r} was given."
            )
        if not fixed_sums(hilbert):
            raise ValueError(
                f"the constraint of {hilbert} is no fixed sum over sites, which is what an "
                "autoregressive model can keep; use a Metropolis sampler with another model."
                if hilbert.constrained
                else f"{hilbert} has no constraint: use the network itself as the model."
            )
        inner: Any = network.hilbert
        same = hilbert.size == inner.size and _states(hilbert) == _states(inner)
        if inner.constrained or not same:
            raise ValueError(
                f"the network must live on the sites of {hilbert} without its constraint, but that "
                f"given lives on {inner}."
            )
        super().__post_init__()

    @property
    def machine_pow(self) -> float:
        """The power of |psi| that is normalised."""
        return self.network.machine_pow

    def conditionals_log_psi(
        self, inputs: Num[Array, "n n_sites"]
    ) -> Inexact[Array, "n n_sites n_states"]:
        """Log psi of each state of each site, given the sites before it."""
        log_psi: Array = self.network.conditionals_log_psi(inputs)
        allowed = self._allowed(inputs)
        log_psi = jnp.where(allowed, log_psi, -jnp.inf)
        some = jnp.any(allowed, axis=-1, keepdims=True)
        power = self.machine_pow
        scores = jnp.where(some, power * jnp.where(allowed, log_psi.real, -jnp.inf), 0)
        return log_psi - jax.nn.logsumexp(scores, axis=-1, keepdims=True) / power

    def _allowed(self, inputs: Num[Array, "n n_sites"]) -> Bool[Array, "n n_sites n_states"]:
        """From which states, given the sites before, the sums can be reached."""
        order = np.asarray(self.network.reorder(np.arange(self.hilbert.size)))
        states = np.asarray(self.hilbert.local_states, float)
        allowed = jnp.zeros((*inputs.shape, len(states)), bool)
        for sites, total in fixed_sums(self.hilbert) or ():
            own = order[np.isin(order, sites)]  # in the order of drawing
            values = inputs[:, own].astype(float)
            before = jnp.cumsum(values, axis=-1) - values
            n_after = np.arange(len(own))[::-1]
            missing = total - before[..., None] - states
            low, high = n_after * states.min(), n_after * states.max()
            reached = (missing > low[:, None] - 0.25) & (missing < high[:, None] + 0.25)
            allowed = allowed.at[:, own].set(reached)
        return allowed

    def reorder(self, inputs: Array, axis: int = 0) -> Array:
        """Sites in the order in which they are drawn."""
        return self.network.reorder(inputs, axis)

    def inverse_reorder(self, inputs: Array, axis: int = 0) -> Array:
        """Sites in the order of the space."""
        return self.network.inverse_reorder(inputs, axis)


def _states(hilbert: Any) -> list[float]:
    """The states of a site."""
    return list(map(float, hilbert.local_states))
