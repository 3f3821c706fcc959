"""The loss, its weights, and the errors that are reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip import TrainingConfig
from ritz.mlip.training.losses import Loss, Residuals, error_sums, weight_at


def batch():
    rng = np.random.default_rng(0)
    return Residuals(
        jnp.asarray(rng.normal(size=4)), jnp.array([1.0, 1, 0, 2]),
        jnp.asarray(rng.normal(size=(6, 3))), jnp.array([1.0, 1, 1, 0, 0, 2]),
        n_supervised=2.0,
        n_labelled=8.0,
    )  # fmt: skip


def test_the_loss_is_that_of_the_reference():
    found = batch()
    energy = np.sqrt(np.average(found.energy**2, weights=found.energy_weight))
    forces = np.sqrt(np.average(np.mean(found.forces**2, axis=1), weights=found.force_weight))
    assert Loss()(found, 0.3, 0.0) == pytest.approx(0.7 * energy + 0.3 * forces)
    assert Loss("mse")(found, 0.3, 0.0) == pytest.approx(0.7 * energy**2 + 0.3 * forces**2)
    unbiased = Loss(scale_unbiased=True)(found, 0.3, 0.0)
    assert unbiased == pytest.approx(0.7 * energy + 0.3 * forces / np.sqrt(0.25))
    no_forces = found._replace(force_weight=jnp.zeros(6))
    assert Loss()(no_forces, 0.3, 0.0) == pytest.approx(0.7 * energy)
    wide = Loss("huber", huber_delta=100.0)(found, 0.3, 0.0)
    assert wide == pytest.approx(0.7 * energy**2 / 2 + 0.3 * forces**2 / 2)
    stress = jnp.ones((4, 3, 3)) * 0.1
    found = found._replace(stress=stress, stress_weight=jnp.array([1.0, 0, 0, 0]))
    assert Loss()(found, 0.3, 2.0) == pytest.approx(0.7 * energy + 0.3 * forces + 2 * 0.1)


def test_a_perfect_batch_has_a_gradient():
    exact = batch()._replace(energy=jnp.zeros(4), forces=jnp.zeros((6, 3)))
    slope = jax.grad(lambda e: Loss()(exact._replace(energy=e), 0.5, 0.0))(exact.energy)
    assert np.all(np.isfinite(slope))


def test_reported_errors_are_true_ones():
    sums = error_sums(batch())
    counted = np.asarray(batch().energy)[[0, 1, 3]]
    assert sums.energy.rmse == pytest.approx(np.sqrt(np.mean(counted**2)))
    assert sums.energy.mae == pytest.approx(np.mean(np.abs(counted)))
    assert sums.forces.count == 12


def test_weights_that_change():
    for schedule, half in (("linear", 0.2), ("cosine", 0.2), ("step", 0.3)):
        found = [float(weight_at(schedule, 0.3, 0.1, p)) for p in (0.0, 0.5, 1.0, 2.0)]
        assert found == pytest.approx([0.3, half, 0.1, 0.1])
    assert float(weight_at("step", 0.3, 0.1, 0.75)) == pytest.approx(0.1)
    config = TrainingConfig(force_weight=0.0, final_force_weight=0.5)
    assert config.weights == ((0.0, 0.0), (0.5, 0.0))
    assert config.uses_forces and not config.uses_stress
