import math

import numpy as np
import pytest

from ritz.stages import autocorrelation_time, blocking_error, r_hat, series_statistics


def autoregressive(phi, n, seed):
    """x_t = phi x_(t-1) + noise: tau = (1 + phi) / (1 - phi), variance 1 / (1 - phi^2)."""
    noise = np.random.default_rng(seed).standard_normal(n)
    values = np.empty(n)
    values[0] = noise[0] / math.sqrt(1 - phi**2)
    for i in range(1, n):
        values[i] = phi * values[i - 1] + noise[i]
    return values


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_errors_and_times_of_correlated_series(phi):
    n, n_series = 8192, 200
    tau, variance = (1 + phi) / (1 - phi), 1 / (1 - phi**2)
    found = [series_statistics(autoregressive(phi, n, seed)) for seed in range(n_series)]
    means = np.array([f.mean for f in found])
    errors = np.array([f.error for f in found])
    times = np.array([f.autocorrelation_time for f in found])
    exact = math.sqrt(variance * tau / n)
    # The spread of the means is known to 5 % from 200 of them; its own error is part of the test.
    assert np.std(means) == pytest.approx(exact, rel=4 / math.sqrt(2 * n_series))
    assert np.mean(errors) == pytest.approx(exact, rel=0.05)
    # Truncating the sum after 5 tau costs up to exp(-5).
    assert np.mean(times) == pytest.approx(
        tau, abs=0.02 * tau + 4 * np.std(times) / math.sqrt(n_series)
    )
    assert all(f.reliable for f in found)


def test_pulls_are_normal():
    pulls = [
        s.mean / s.error
        for s in (series_statistics(autoregressive(0.8, 4096, k)) for k in range(400))
    ]
    inside = np.mean(np.abs(pulls) < 1)
    assert abs(inside - 0.683) < 3 * math.sqrt(0.683 * 0.317 / 400)


def test_short_series_say_so():
    rounded = -4.43 * (1 + np.finfo(float).eps * np.random.default_rng(0).integers(-1, 2, 7))
    assert blocking_error(rounded)[1]  # an exact sum
    error, reliable = blocking_error(autoregressive(0.99, 64, 0))
    assert not reliable and error > 0
    assert series_statistics(np.array([2.0]))[:2] == pytest.approx((2.0, math.nan), nan_ok=True)
    assert math.isnan(series_statistics(np.array([])).mean)
    assert math.isnan(series_statistics(np.array([1.0, np.nan, 2.0])).error)


def test_constant_series_have_no_error():
    found = series_statistics(np.full(100, 3.0))
    assert (found.mean, found.error, found.autocorrelation_time) == (3.0, 0.0, 1.0)
    assert autocorrelation_time(np.tile([1.0, -1.0], 50)) < 0.1  # anticorrelated


def test_r_hat_finds_chains_that_disagree():
    random = np.random.default_rng(0)
    chains = random.standard_normal((8, 1000))

    def of(x):
        mean = x.mean(axis=1)
        return r_hat(x.shape[1], mean, np.sum((x - mean[:, None]) ** 2, axis=1))

    within, between = chains.var(axis=1, ddof=1).mean(), 1000 * chains.mean(axis=1).var(ddof=1)
    assert of(chains) == pytest.approx(math.sqrt((999 * within + between) / 1000 / within))
    assert abs(of(chains) - 1) < 0.005
    chains[0] += 1
    assert of(chains) > 1.05
    assert math.isnan(of(chains[:1])) and math.isnan(of(chains[:, :1]))
    assert of(np.ones((3, 4))) == 1.0
    assert of(np.arange(3.0)[:, None] * np.ones((3, 4))) == math.inf
