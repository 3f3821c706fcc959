"""Error bars of overlaps against the scatter of many estimates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.lattice.overlaps.overlap import SampledTarget, product_statistics

pytestmark = pytest.mark.netket

N = 1024


def walks(n_estimates, n_chains, memory, seed):
    """Chains of numbers of variance 1, shape (n_estimates, n_chains, length)."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(n_estimates, n_chains, N // n_chains))
    for n in range(1, noise.shape[-1]):
        fresh = noise[..., n] * np.sqrt(1 - memory**2)
        noise[..., n] = memory * noise[..., n - 1] + fresh
    return noise


def is_honest(stats):
    scatter, claimed = np.std(stats.mean), np.sqrt(np.mean(np.square(stats.error_of_mean)))
    return abs(claimed / scatter - 1) < 0.25


@pytest.mark.parametrize(("n_chains", "memory"), [((N, N), 0.0), ((64, 32), 0.8)])
def test_products_of_means_have_the_error_of_what_is_along_their_phases(n_chains, memory):
    """Most of the noise is across: with all of it errors would be four times as large."""
    phase = np.exp(0.7j)
    a, b = (
        (1 + 0.5 * walks(200, n, memory, seed) + 2j * walks(200, n, 0.0, seed + 9)) * turn
        for seed, n, turn in zip((1, 2), n_chains, (phase, phase.conj()), strict=True)
    )
    stats = jax.vmap(product_statistics)(a, b)
    assert np.mean(stats.mean) == pytest.approx(1, abs=0.02)
    assert is_honest(stats)


def test_a_product_of_constants_has_no_error():
    assert product_statistics(jnp.ones((4, 8)), jnp.ones((8, 4))).error_of_mean == 0


@pytest.mark.parametrize("control_variate", [0.0, -0.5])
@pytest.mark.parametrize("n_chains", [(64, 64), (256, 32)])
def test_pairs_of_samples_have_the_error_of_the_longer_chains(n_chains, control_variate):
    parts: Any = (None,) * 3
    target = SampledTarget(*parts, control_variate, None)
    a, b = (1 + 0.3 * walks(200, n, 0.9, seed) for seed, n in enumerate(n_chains))

    def estimate(a, b):
        return target._statistics(a.ravel(), b.ravel(), a.shape, b.shape)

    assert is_honest(jax.vmap(estimate)(a, b))
