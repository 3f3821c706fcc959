"""Networks, optimisers, losses, sampling and configuration, each by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip import SGD, Adam, AdamW, TrainingConfig
from ritz.mlip.batching.plan import (
    divide_into_batches,
    draw_with_replacement,
    energy_weights,
    error_weights,
    most_atoms,
    random_subset,
)
from ritz.mlip.models.atomic import ACTIVATIONS, checked_architecture, evaluate_network
from ritz.mlip.models.normalisation import FeatureStatistics, fit_normalisation
from ritz.mlip.training.losses import Loss, Residuals, error_sums, weight_at
from ritz.mlip.training.optimisers import Rates, optimizer


def test_a_network_by_hand():
    layers = [
        {"weights": jnp.array([[1.0, -1.0], [0.5, 2.0]]), "bias": jnp.array([0.1, 0.2])},
        {"weights": jnp.array([[2.0], [3.0]]), "bias": jnp.array([-1.0])},
    ]
    found = evaluate_network(layers, ((2, "tanh"),), jnp.array([0.3, -0.4]))
    hidden = np.tanh([0.3 - 0.2 + 0.1, -0.3 - 0.8 + 0.2])
    assert found == pytest.approx(2 * hidden[0] + 3 * hidden[1] - 1)
    assert set(ACTIVATIONS) >= {"linear", "tanh", "sigmoid", "silu"}


@pytest.mark.parametrize(
    ("arch", "error", "message"),
    [
        ({"O": [(4, "tanh")]}, ValueError, "give one for each"),
        ({"O": [(4, "tan")], "Ti": []}, ValueError, "must be one of linear, tanh"),
        ({"O": [4], "Ti": []}, TypeError, "a layer is a pair"),
        ({"O": [(0, "tanh")], "Ti": []}, ValueError, "number of nodes of a layer of O"),
        ([4, 4], TypeError, "maps each species"),
    ],
)
def test_bad_architectures(arch, error, message):
    with pytest.raises(error, match=message):
        checked_architecture(arch, ["Ti", "O"])


def batch():
    rng = np.random.default_rng(0)
    return Residuals(
        jnp.asarray(rng.normal(size=4)), jnp.array([1.0, 1, 0, 2]),
        jnp.asarray(rng.normal(size=(6, 3))), jnp.array([1.0, 1, 1, 0, 0, 2]),
        supervised=jnp.asarray(0.25),
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


def test_normalisation():
    features = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 0] + 5
    statistics = FeatureStatistics(3)
    for part in np.split(features, [7, 30]):
        statistics.add(part)
    np.testing.assert_allclose(statistics.minimum, features.min(axis=0))
    found = fit_normalisation(statistics, np.array([-10.0, -30.0, -25.0]), np.array([1, 2, 2]))
    assert (found.e_scaling, found.e_shift) == (2 / 5, -12.5)
    scaled = found.features(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0])
    flat = fit_normalisation(statistics, np.array([-5.0]), np.array([1]))
    assert (flat.e_scaling, flat.e_shift) == (1, 0)


def test_sampling_weights():
    np.testing.assert_allclose(energy_weights([-3.0, -1.0, -2.0]), [1, 1 / 2, 1 / 1.5])
    np.testing.assert_array_equal(energy_weights([2.0, 2.0]), [1, 1])
    found = error_weights(jnp.array([1.0, 3.0, -1.0, np.nan, np.inf]))
    np.testing.assert_allclose(found, np.array([1, 3, 1e-12, 1e-12, 1e-12]) / (4 / 5), rtol=1e-9)
    np.testing.assert_array_equal(error_weights(jnp.zeros(3)), np.ones(3))


def test_draws_have_their_probabilities():
    weights = jnp.tile(jnp.array([1.0, 3.0, 0.0]), 2000)
    kinds = np.asarray(draw_with_replacement(jax.random.key(0), weights)) % 3
    counts = np.bincount(kinds, minlength=3)
    assert counts[2] == 0
    expected, error = 6000 * 0.75, np.sqrt(6000 * 0.75 * 0.25)
    assert abs(counts[1] - expected) < 4 * error


def test_every_structure_is_once_in_an_epoch_and_batches_are_alike():
    sizes = jnp.asarray(np.random.default_rng(0).integers(2, 60, 41))
    everybody = jnp.ones(41, bool)
    plans = [
        np.asarray(
            divide_into_batches(jax.random.key(seed), jnp.arange(41), everybody, sizes, 6, 7)
        )
        for seed in range(40)
    ]
    for plan in plans:
        assert sorted(plan[plan >= 0]) == list(range(41))
        atoms = np.where(plan >= 0, np.asarray(sizes)[plan], 0).sum(axis=1)
        assert np.all(atoms <= most_atoms(np.asarray(sizes)[:, None], 6)[0])
        assert np.ptp(np.sum(plan >= 0, axis=1)) <= 1
    # Every structure is in every batch equally often.
    where = [np.nonzero(plan == 7)[0][0] for plan in plans]
    assert set(where) == set(range(6))


def test_a_chosen_subset():
    allowed = jnp.asarray(np.arange(20) % 2 == 0)
    found = np.asarray(random_subset(jax.random.key(1), allowed, 4))
    assert found.sum() == 4 and not np.any(found & ~np.asarray(allowed))


def test_weight_decay_of_adam_is_not_decoupled():
    parameters, gradient = jnp.array([2.0]), jnp.array([0.5])
    for method, slope in ((Adam(weight_decay=0.1), 0.7), (SGD(lr=0.1, weight_decay=0.1), 0.7)):
        rule = optimizer(method, Rates(), None)
        step, _ = rule.update(gradient, rule.init(parameters), parameters)
        expected = -1e-3 if isinstance(method, Adam) else -0.1 * slope
        assert step[0] == pytest.approx(expected, rel=1e-5)
    rule = optimizer(AdamW(weight_decay=0.1), Rates(), None)
    step, _ = rule.update(gradient, rule.init(parameters), parameters)
    assert step[0] == pytest.approx(-1e-3 - 1e-3 * 0.1 * 2, rel=1e-5)


def test_learning_rates():
    rates = Rates("cosine", 10, 110, 0.1).of(2.0)
    assert [float(rates(n)) for n in (0, 5, 10, 60, 110, 500)] == pytest.approx(
        [0, 1, 2, 2 * 0.55, 0.2, 0.2]
    )
    falling = Rates("exponential", 0, 100, 0.01).of(1.0)
    assert float(falling(50)) == pytest.approx(0.1) and float(falling(900)) == pytest.approx(0.01)


def test_weights_that_change():
    for schedule, half in (("linear", 0.2), ("cosine", 0.2), ("step", 0.3)):
        found = [float(weight_at(schedule, 0.3, 0.1, p)) for p in (0.0, 0.5, 1.0, 2.0)]
        assert found == pytest.approx([0.3, half, 0.1, 0.1])
    assert float(weight_at("step", 0.3, 0.1, 0.75)) == pytest.approx(0.1)
    config = TrainingConfig(force_weight=0.0, final_force_weight=0.5)
    assert config.weights == ((0.0, 0.0), (0.5, 0.0))
    assert config.uses_forces and not config.uses_stress


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"iterations": -1}, ValueError, "iterations must be a whole number of at least 0"),
        ({"method": "adam"}, TypeError, "Adam, AdamW or SGD"),
        ({"testpercent": 100}, ValueError, "nothing is left to train on"),
        ({"testpercent": 120}, ValueError, "between 0 and 100"),
        ({"force_weight": 1.5}, ValueError, "force_weight must be between 0 and 1"),
        ({"force_fraction": -0.1}, ValueError, "force_fraction must not be negative"),
        ({"scheduler_factor": 7}, ValueError, "scheduler_factor must be below 1"),
        ({"sampling_policy": "often"}, ValueError, "'uniform', 'energy_weighted' or"),
        ({"precision": "float16"}, ValueError, "'float32' or 'float64'"),
        ({"device": "cuda 7"}, ValueError, "device must be .cpu., .gpu., .cuda:1. or the like"),
        ({"save_best": 1}, TypeError, "save_best must be True or False"),
        ({"max_checkpoints": 0}, ValueError, "max_checkpoints must be a whole number"),
        ({"gradient_clip": 0}, ValueError, "gradient_clip must be above zero"),
        ({"feature_stats": {"mean": 0}}, ValueError, "'mean' and 'std'"),
        ({"atomic_energies": {"H": None}}, ValueError, "finite numbers in eV, but H"),
        ({"loss": "mae"}, ValueError, "'rmse', 'mse' or 'huber'"),
        ({"final_force_weight": 2.0}, ValueError, "final_force_weight must be between 0 and 1"),
        ({"weight_schedule": "often"}, ValueError, "'linear', 'cosine' or 'step'"),
        ({"memory_mode": "mixed"}, NotImplementedError, "'cpu' on the host"),
        ({"memory_mode": "disk"}, ValueError, "'gpu', 'cpu' or 'mixed'"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be above zero"),
        ({"cache_scope": "test"}, ValueError, "'all', 'train' or 'val'"),
        ({"cache_feature_max_entries": -1}, ValueError, "cache_feature_max_entries must be"),
        ({"num_workers": -1}, ValueError, "num_workers must be a whole number"),
        ({"prefetch_factor": 0}, ValueError, "prefetch_factor must be a whole number"),
        ({"cache_features": 1}, TypeError, "cache_features must be True or False"),
        ({"force_sampling": "never"}, ValueError, "'random' or 'fixed'"),
    ],
)
def test_bad_configurations(settings, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**settings)


def test_a_run_cannot_begin_with_the_rate_rising_to_its_end():
    with pytest.raises(ValueError, match="warmup_epochs=100 leave nothing of iterations=100"):
        TrainingConfig(warmup_epochs=100).check_beginning()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(mu=-1), "mu must be above zero"),
        (lambda: Adam(mu=0), "mu must be above zero"),
        (lambda: Adam(batchsize=0), "batchsize must be a whole number"),
        (lambda: Adam(beta1=1), "beta1 must be below 1"),
        (lambda: SGD(momentum=2), "momentum must be between 0 and 1"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must not be negative"),
    ],
)
def test_bad_optimisers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_field_of_the_configuration_is_documented():
    for field in dataclasses.fields(TrainingConfig):
        assert f"\n        {field.name}: " in TrainingConfig.__doc__, field.name


def test_every_field_says_what_it_allows_and_belongs_to():
    groups = [field.metadata["group"] for field in dataclasses.fields(TrainingConfig)]
    assert set(groups) == {
        "run", "data", "loss", "forces", "batches", "normalisation", "optimiser", "scheduler",
        "checkpoints", "memory", "caches", "output",
    }  # fmt: skip
    config = TrainingConfig(memory_limit=2.0, num_workers=3)
    assert config.data_settings.windows_ahead == 6
    assert config.data_settings.bytes_on(None) == 2e9
    assert "method" in config.of_steps and "iterations" not in config.of_steps
