"""Optimisers and the configuration of training."""

import dataclasses

import jax.numpy as jnp
import pytest

from ritz.mlip import (
    SGD,
    Adam,
    AdamW,
    CommitteeConfig,
    CommitteePotential,
    StructureDataset,
    TrainingConfig,
    read_structures,
)
from ritz.mlip.training.optimisers import Rates, optimizer
from tests.mlip.systems import config, dataset, descriptor, potential, tio2


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
    # The first of ten steps of the warm-up has an eleventh of the rate, and is not lost.
    assert [float(rates(n)) for n in (0, 5, 10, 60, 110, 500)] == pytest.approx(
        [2 / 11, 12 / 11, 2, 2 * 0.55, 0.2, 0.2]
    )
    falling = Rates("exponential", 0, 100, 0.01).of(1.0)
    assert float(falling(50)) == pytest.approx(0.1) and float(falling(900)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"iterations": -1}, ValueError, "iterations must be a whole number of at least 0"),
        ({"method": "adam"}, TypeError, "Adam, AdamW, SGD or KFAC"),
        ({"testpercent": 100}, ValueError, "nothing is left to train on"),
        ({"testpercent": 120}, ValueError, "between 0 and 100"),
        ({"force_weight": 1.5}, ValueError, "force_weight must be between 0 and 1"),
        ({"force_fraction": -0.1}, ValueError, "force_fraction must be a number of at least 0"),
        ({"scheduler_factor": 7}, ValueError, "scheduler_factor must be below 1"),
        ({"sampling_policy": "often"}, ValueError, "'uniform', 'energy_weighted' or"),
        ({"precision": "float16"}, ValueError, "'float32' or 'float64'"),
        ({"device": "cuda 7"}, ValueError, "device must be .cpu., .gpu., .cuda:1. or the like"),
        ({"save_best": 1}, TypeError, "save_best must be True or False"),
        ({"max_checkpoints": 0}, ValueError, "max_checkpoints must be a whole number"),
        ({"gradient_clip": 0}, ValueError, "gradient_clip must be a positive number"),
        ({"feature_stats": {"mean": 0}}, ValueError, "'mean' and 'std'"),
        ({"atomic_energies": {"H": None}}, ValueError, "finite numbers in eV, but H"),
        ({"loss": "mae"}, ValueError, "'rmse', 'mse' or 'huber'"),
        ({"final_force_weight": 2.0}, ValueError, "final_force_weight must be between 0 and 1"),
        ({"weight_schedule": "often"}, ValueError, "'linear', 'cosine' or 'step'"),
        ({"memory_mode": "mixed"}, NotImplementedError, "'cpu' on the host"),
        ({"memory_mode": "disk"}, ValueError, "'gpu', 'cpu' or 'mixed'"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be a positive number"),
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
        (lambda: Adam(mu=-1), "mu must be a positive number"),
        (lambda: Adam(mu=0), "mu must be a positive number"),
        (lambda: Adam(batchsize=0), "batchsize must be a whole number"),
        (lambda: Adam(beta1=1), "beta1 must be below 1"),
        (lambda: SGD(momentum=2), "momentum must be between 0 and 1"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be a number of at least 0"),
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TrainingConfig(iteration=3), "TrainingConfig .* 'iteration'; did you mean itera"),
        (lambda: CommitteeConfig(members=3), "CommitteeConfig .* did you mean num_members=?"),
        (lambda: Adam(batch_size=3), "Adam has no argument 'batch_size'; did you mean batchsize=?"),
        (lambda: potential().train(dataste=dataset()), "train has .*; did you mean dataset=?"),
        (lambda: potential().driver(configs=config()), "driver has .*; did you mean config=?"),
        (
            lambda: CommitteePotential.of(potential()).train(commitee_config=None),
            "train has no argument 'commitee_config'; did you mean committee_config=?",
        ),
        (
            lambda: read_structures("a.xyz", force_key="F"),
            "read_structures has no argument 'force_key'; did you mean forces_key=?",
        ),
        (
            lambda: StructureDataset(tio2(1), descriptor(), max_force=1.0),
            "StructureDataset has no argument 'max_force'; did you mean max_forces=?",
        ),
    ],
)
def test_misspelt_arguments(call, message):
    with pytest.raises(TypeError, match=message):
        call()
