"""The life cycle of estimators, statistics and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.estimators import (
    AbstractEstimator,
    ChainMoments,
    Function,
    LossAndGrad,
    evaluate_all,
    statistics,
)
from ritz.estimators.statistics import Stats
from ritz.testing import check_estimator


def log_psi(params, x):
    return -jnp.sum(x**2, axis=-1)


class Sum(AbstractEstimator):
    def __init__(self, *uses):
        self.uses = uses

    def evaluate(self, log_psi, params, samples, values):
        return sum(values[name] for name in self.uses)


X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)))


def test_estimators_use_the_values_of_others_in_any_order():
    first, second = Function(lambda p, x: p * x[0]), Function(lambda p, x: x[1])
    estimators = {"total": Sum("a", "b"), "b": second, "a": first}
    found = evaluate_all(estimators, log_psi, 2.0, X)
    assert list(found) == ["total", "b", "a"]
    np.testing.assert_allclose(found["total"], 2 * X[:, 0] + X[:, 1])
    check_estimator(Sum("a", "b"), log_psi, 2.0, X, {"a": first, "b": second})
    check_estimator(Function(lambda p, x: {"r": x, "n": x[0]}), log_psi, 2.0, X)


@pytest.mark.parametrize(("estimators", "told"), [
    ({"a": Sum("b")}, "'a' uses the values of 'b', which is not estimated; add b="),
    ({"a": Sum("b"), "b": Sum("a")}, "in a circle: a -> b -> a"),
])  # fmt: skip
def test_what_estimators_lack_is_told(estimators, told):
    with pytest.raises(ValueError, match=told):
        evaluate_all(estimators, log_psi, 2.0, X)


class Batchwise(AbstractEstimator):
    def evaluate(self, log_psi, params, samples, values):
        return samples[:, 0] - jnp.mean(samples[:, 0])


class Weightless(Function):
    def reduce(self, values, weights=None):
        return statistics(values)


@pytest.mark.parametrize(("wrong", "told"), [
    (Batchwise(), "depends on the other samples"),
    (Weightless(lambda p, x: x[0]), "ignores weights"),
    (Function(lambda p, x: jnp.log(-jnp.abs(x[0]))), "not finite"),
])  # fmt: skip
def test_the_check_finds_what_is_wrong(wrong, told):
    with pytest.raises(AssertionError, match=told):
        check_estimator(wrong, log_psi, 2.0, X)


def test_statistics_of_independent_values():
    values = jnp.asarray([1.0, 2.0, 3.0, 6.0])
    stats = statistics(values)
    assert (stats.mean, stats.variance) == (3.0, 3.5)
    np.testing.assert_allclose(stats.error_of_mean, np.sqrt(3.5 / 4))
    assert list(stats.to_dict()) == ["Mean", "Sigma", "Variance"]
    weighted = statistics(jnp.asarray([1.0, 5.0]), jnp.asarray([0.75, 0.25]))
    assert (weighted.mean, weighted.variance) == (2.0, 3.0)


def test_both_kinds_of_clipping():
    losses = jnp.asarray([0.0, 1.0, 2.0, 3.0, 104.0])
    # Deviations from the median 2 are 2, 1, 0, 1, 102: their mean is 21.2, their median 1.
    clipped, n = LossAndGrad("median_absolute_deviation", 5.0).clipped(losses)
    np.testing.assert_allclose(clipped, [0, 1, 2, 3, 7])
    assert n == 1
    clipped, n = LossAndGrad("mean_absolute_deviation", 2.0).clipped(losses)
    np.testing.assert_allclose(clipped, [0, 1, 2, 3, 44.4], rtol=1e-6)
    assert LossAndGrad("none").clipped(losses)[0] is losses
    turned, n = LossAndGrad("median_absolute_deviation").clipped(losses * (1 + 1j))
    np.testing.assert_allclose(turned[-1], 7 + 7j)
    with pytest.raises(ValueError, match="clip_method must be 'mean_absolute_deviation', "):
        LossAndGrad("mad")


def test_moments_of_chains_are_those_of_all_their_values():
    values = np.random.default_rng(0).normal(5, 2, (3, 12))
    moments = ChainMoments.empty(3)
    for part in np.split(values, [2, 7], axis=1):
        moments = moments.with_values(part)
    assert int(moments.count) == 12
    np.testing.assert_allclose(moments.mean, values.mean(axis=1))
    np.testing.assert_allclose(moments.m2, 12 * values.var(axis=1))


@pytest.mark.parametrize("method", ["mean_absolute_deviation", "median_absolute_deviation"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_leaves_the_clipping_of_the_others_as_it_is(method, bad):
    losses = jnp.asarray([0.0, 1, 2, 3, 100])
    clip = LossAndGrad(method, 2.0).clipped
    wanted, n_wanted = clip(losses)
    assert n_wanted == 1
    for turn in (1, 1 + 1j):
        wanted, n_wanted = clip(losses * turn)
        found, n = clip(jnp.append(losses * turn, bad))
        np.testing.assert_allclose(found[:-1], wanted)
        assert n == n_wanted and np.array_equal(found[-1:].real, [bad], equal_nan=True)
    assert not np.any(np.isfinite(clip(jnp.full(3, bad))[0]))


@pytest.mark.parametrize(
    ("stats", "text"),
    [
        (Stats(-2.78537, 0.04029, 0.2078), "-2.785 ± 0.040 [σ²=0.21]"),
        (Stats(-1.0, 0.0996, 0.1), "-1.00 ± 0.10 [σ²=0.1]"),
        (Stats(np.float32(-2000.3), jnp.float32(123), 4e6), "-2000 ± 123 [σ²=4e+06]"),
        (Stats(-1 + 2e-3j, 0.00123, 0.5), "-1.0000+0.0020j ± 0.0012 [σ²=0.5]"),
        (Stats(-1.5, 0.0, 0.0), "-1.5 ± 0 [σ²=0]"),
        (Stats(-0.5, 1e-17, 0.0), "-0.5 ± 1e-17 [σ²=0]"),
        (Stats(1e30, 1e28, 1.0), "1e+30 ± 1e+28 [σ²=1]"),
        (Stats(np.nan, np.nan, np.inf), "nan ± nan [σ²=inf]"),
        (
            Stats(np.zeros(2), 1.0, 1.0),
            "Stats(mean=array([0., 0.]), error_of_mean=1.0, variance=1.0)",
        ),
    ],
)
def test_statistics_as_text(stats, text):
    assert str(stats) == text


def test_statistics_can_be_printed_while_they_are_traced():
    jax.jit(lambda x: str(Stats(x, x, x)) and x)(1.0)
