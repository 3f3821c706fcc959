"""Conformance check of estimators."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.estimators.base import AbstractEstimator, LogPsi, evaluate_all
from ritz.testing.requirement import require


def check_estimator(
    estimator: AbstractEstimator,
    log_psi: LogPsi,
    params: PyTree,
    samples: PyTree,
    others: Mapping[str, AbstractEstimator] | None = None,
) -> None:
    """Check an estimator on samples.

    It must be hashable, compile, and give each sample a finite value of its own: one that depends
    neither on the other samples nor on their order. Weights must act as repetitions do.

    Args:
        estimator: The estimator.
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: Its parameters.
        samples: At least three samples, first axis n_samples.
        others: The estimators that it uses, by name.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    hash(estimator)
    estimators = {**(others or {}), "checked": estimator}

    @jax.jit
    def values_of(samples: PyTree) -> PyTree:
        return evaluate_all(estimators, log_psi, params, samples)["checked"]

    values = values_of(samples)
    n_samples = len(jax.tree.leaves(samples)[0])
    for part in jax.tree.leaves(values):
        require(
            part.shape[:1] == (n_samples,),
            f"{estimator}: values have the shape {part.shape}; the first axis must be that of the "
            f"samples, {n_samples} here",
        )
        require(np.all(np.isfinite(part)), f"{estimator} gives values that are not finite")
    turned = values_of(jax.tree.map(lambda x: x[::-1], samples))
    fewer = values_of(jax.tree.map(lambda x: x[:2], samples))
    for part, back, few in zip(*map(jax.tree.leaves, (values, turned, fewer)), strict=True):
        scale = 1e-5 * (1 + np.abs(part).max())
        require(np.allclose(back[::-1], part, atol=scale), f"{estimator}: order matters")
        require(
            np.allclose(few, part[:2], atol=scale),
            f"{estimator}: the value of a sample depends on the other samples",
        )
    weights = jnp.asarray([0.5, 0.25, 0.25] + [0.0] * (n_samples - 3))
    repeated = jax.tree.map(lambda x: x[jnp.array([0, 0, 1, 2])], values)
    by_weight = jax.jit(lambda: estimator.finalize(estimator.reduce(values, weights)))()
    by_number = estimator.finalize(estimator.reduce(repeated))
    for one, other in zip(*map(jax.tree.leaves, (by_weight, by_number)), strict=True):
        require(
            one.shape == other.shape, f"{estimator}: statistics change their shape with weights"
        )
    for one, other in zip(*map(_means, (by_weight, by_number)), strict=True):
        require(np.allclose(one, other, rtol=1e-4, atol=1e-4), f"{estimator} ignores weights")


def _means(statistics: PyTree) -> list[np.ndarray]:
    """The means among the results of `finalize`."""
    leaves = jax.tree.leaves(statistics, is_leaf=lambda x: hasattr(x, "error_of_mean"))
    return [np.asarray(leaf.mean) for leaf in leaves if hasattr(leaf, "error_of_mean")]
