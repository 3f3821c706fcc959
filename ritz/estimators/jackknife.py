"""Functions of expectation values, from weighted samples of several chains, by the jackknife."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


def pseudo_values(
    channels: Inexact[Array, "n_chains length n_channels"],
    combine: Callable[[Inexact[Array, " n_channels"]], Inexact[Array, ""]],
    weights: Float[Array, "n_chains length"] | None = None,
) -> Inexact[Array, "n_chains length"]:
    """The jackknife's pseudo-value of each sample, n f(m) - (n - 1) f(m without the sample).

    Their mean is the estimate of f; the bias of order 1/n that f of a sample's mean, or a ratio of
    weighted sums, has is taken away, as whole chains left out show it. Their spread gives the error
    bar as that of ordinary values does, correlations within chains included (Quenouille, Biometrika
    43, 353, 1956; Miller, Biometrika 61, 1, 1974).

    Args:
        channels: The values whose means are combined, for each sample.
        combine: f, a differentiable function of the means.
        weights: Probabilities of the samples, which sum to one; None for equal ones.
    """
    n_chains, length = channels.shape[:2]
    n = n_chains * length
    if weights is None:
        weights = jnp.full((n_chains, length), 1 / n, jnp.real(channels).dtype)
    sums = weights[..., None] * channels
    means = jnp.sum(sums, axis=(0, 1))
    whole = combine(means)

    def without(weight: Array, part: Array) -> Array:
        left = 1 - weight
        # A sample with all the weight leaves nothing: then all that is left is the whole.
        return combine(jnp.where(left > 0, (means - part) / jnp.where(left > 0, left, 1), means))

    values = whole + (n - 1) * (whole - jax.vmap(jax.vmap(without))(weights, sums))
    if n_chains == 1:
        return values
    by_chain = jax.vmap(without)(jnp.sum(weights, axis=1), jnp.sum(sums, axis=1))
    corrected = whole + (n_chains - 1) * (whole - jnp.mean(by_chain))
    return values + corrected - jnp.mean(values)
