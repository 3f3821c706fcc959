"""Runge-Kutta methods on an equation with a known solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.lattice.dynamics.tableau import TABLEAUS

pytestmark = pytest.mark.netket


def errors(tableau, n_steps):
    """The global error, and the largest estimate in a step, for y' = (i + cos t) y up to t = 1."""
    step = 1.0 / n_steps

    @jax.jit
    def advance(y, t):
        def slope(change, fraction, carried):
            return (y + change) * (1j + jnp.cos(t + fraction * step)), carried

        first, _ = slope(jnp.zeros_like(y), 0.0, ())
        slopes, _ = tableau.slopes(slope, first, step, ())
        estimate = tableau.error(slopes, step) if tableau.embedded else jnp.zeros_like(y)
        return y + tableau.change(slopes, step), estimate

    y, estimates = jnp.array([1.0 + 0.5j]), []
    for k in range(n_steps):
        y, estimate = advance(y, k * step)
        estimates.append(abs(estimate[0]))
    return abs(y[0] - (1 + 0.5j) * np.exp(1j + np.sin(1.0))), max(estimates)


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_methods_have_their_orders(tableau):
    few, many = errors(tableau, 16), errors(tableau, 32)
    assert np.log2(few[0] / many[0]) == pytest.approx(tableau.order, abs=0.25)
    assert tableau.nodes[0] == 0 and sum(tableau.weights) == pytest.approx(1, abs=1e-14)
    if tableau.embedded:
        assert sum(tableau.embedded) == pytest.approx(1, abs=1e-14)
        assert np.log2(few[1] / many[1]) == pytest.approx(tableau.error_order, abs=0.25)
