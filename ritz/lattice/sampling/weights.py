"""Samples of |psi|^a: their weights, effective number and statistics."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, Float, Inexact

from ritz.estimators.jackknife import pseudo_values

BORN = 2.0
"""The power of |psi| whose samples have equal weights."""


def unequal_power(state: nk.vqs.MCState) -> Float[Array, ""] | None:
    """The power a of |psi| that a state's sampler draws from; None for 2, of equal weights.

    That is its `machine_pow`, or that of the model where an autoregressive one is sampled directly.

    Raises:
        ValueError: If it is not a finite number of at least 0.
    """
    sampler = state.sampler
    owner: Any = state.model if isinstance(sampler, nk.sampler.ARDirectSampler) else sampler
    power = float(getattr(owner, "machine_pow", BORN))
    if not (math.isfinite(power) and power >= 0):
        raise ValueError(
            f"machine_pow must be a finite number of at least 0, but {type(sampler).__name__} has "
            f"{power}."
        )
    return None if power == BORN else jnp.asarray(power, float)


def importance_weights(
    log_psi: Inexact[Array, " n"], power: Float[Array, ""]
) -> Float[Array, " n"]:
    """The weights |psi|^(2 - a) of samples of |psi|^a, which sum to one.

    Args:
        log_psi: Log psi of the samples.
        power: a.
    """
    return jax.nn.softmax((BORN - power) * jnp.real(log_psi).astype(float))


def effective_fraction(weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Effective number of samples over their number, 1 / (n sum w^2) (Kish, 1965)."""
    return 1 / (weights.size * jnp.sum(weights**2))


def chain_statistics(
    values: Inexact[Array, "*shape"], weights: Float[Array, " n"] | None = None
) -> tuple[nk.stats.Stats, Inexact[Array, "n_chains length"]]:
    """NetKet's statistics of values by chain, and a series of each chain with that mean and error.

    Without weights the series are the values. With weights they are pseudo-values, see
    `ritz.estimators.jackknife`; error, autocorrelation time and R-hat are theirs, while the
    variance is that of the weighted values, without the bias of order 1/n where that leaves it
    positive.

    Args:
        values: Shape (n_chains, length), or (n,) for one chain.
        weights: Probabilities of the samples, which sum to one; None for equal ones.
    """
    series = jnp.atleast_2d(values)
    if weights is None:
        return nk.stats.statistics(values), series
    weights = weights.reshape(series.shape)
    mean = jnp.sum(weights * series)
    squares = jnp.abs(series - mean) ** 2
    unbiased = jnp.mean(pseudo_values(squares[..., None], _only, weights))
    variance = jnp.where(unbiased > 0, unbiased, jnp.sum(weights * squares))
    series = pseudo_values(series[..., None], _only, weights)
    stats: Any = nk.stats.statistics(series)
    return stats.replace(variance=variance), series


def _only(means: Inexact[Array, " one"]) -> Inexact[Array, ""]:
    return means[0]
