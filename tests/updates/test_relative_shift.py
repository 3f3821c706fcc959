"""Shifts that follow the size of the matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.updates import MARCH, SPRING, SR, MinSR, Problem, stochastic_reconfiguration

X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 5)))
LOSSES = jnp.asarray(np.random.default_rng(1).normal(size=12))
PARAMS = jnp.arange(1.0, 6.0)


def direction(rule, scale=1.0):
    """The direction for parameters in units of `scale`."""
    problem = Problem(lambda p, x: x @ (p * scale), PARAMS / scale, X, LOSSES, mode="real")
    found, *_ = rule.update(rule.init(PARAMS, problem), problem, PARAMS, jax.random.key(0))
    return np.asarray(found)


@pytest.mark.medium
@pytest.mark.parametrize("rule", [SR, MinSR, SPRING, MARCH])
def test_units_of_the_parameters_do_not_matter(rule):
    relative = rule(diag_shift=0.0, relative_shift=0.1)
    one, other = direction(relative), direction(relative, scale=100.0)
    np.testing.assert_allclose(other * 100.0, one, rtol=1e-8)
    absolute = rule(diag_shift=0.1)
    one, other = direction(absolute), direction(absolute, scale=100.0)
    assert not np.allclose(other * 100.0, one, rtol=1e-2)


@pytest.mark.medium
def test_it_is_a_part_of_the_norm_in_both_spaces():
    scores = (X - X.mean(axis=0)) / np.sqrt(12)
    norm = np.linalg.norm(scores.T @ scores)
    wanted = direction(SR(diag_shift=0.01 + 0.1 * norm))
    for rule in (SR(0.01, relative_shift=0.1), MinSR(0.01, relative_shift=0.1)):
        np.testing.assert_allclose(direction(rule), wanted, rtol=1e-10)


def test_the_default_rule_has_one():
    assert stochastic_reconfiguration(5, 12).relative_shift == 1e-6
    assert SR().relative_shift == MinSR().relative_shift == 0
    with pytest.raises(ValueError, match="relative_shift must be at least 0"):
        SR(relative_shift=-1.0)
