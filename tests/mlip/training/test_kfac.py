"""KFAC in training: steps against least squares, bits, committees, forces, errors."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ritz.mlip import (
    KFAC,
    CommitteeConfig,
    CommitteePotential,
    GraphPotential,
    PaiNN,
    Structure,
    TrainingConfig,
)
from ritz.testing import check_driver
from tests.mlip.models.test_graph import Springs
from tests.mlip.systems import (
    ARCH,
    config,
    dataset,
    descriptor,
    leaves,
    potential,
    tio2,
)
from tests.mlip.training.gauss_newton import (
    NEWTON,
    dense,
    driver,
    one_species,
)


@pytest.mark.medium
@pytest.mark.parametrize("loss", ["rmse", "mse"])
def test_a_linear_model_is_fitted_in_one_step(loss):
    made = driver(one_species(), {"Ti": [], "O": []}, loss=loss,
                  method=KFAC(lr=1.0, batchsize=24, **NEWTON))  # fmt: skip
    jacobian, residuals, q = dense(made)[:3]
    roots = np.sqrt(q)
    best = np.linalg.lstsq(roots[:, None] * jacobian, -roots * residuals, rcond=1e-9)[0]
    least = np.sqrt(q @ (residuals + jacobian @ best) ** 2)
    assert 0.01 < least < 0.9 * np.sqrt(q @ residuals**2)
    made.run(1, show_progress=False)
    assert np.sqrt(q @ dense(made)[1] ** 2) == pytest.approx(least, rel=1e-6)


@pytest.mark.medium
def test_shifts_are_in_units_of_the_energies_range():
    """Energies in other units give the same steps, and so does the form of the loss."""
    finals = []
    for factor, loss in ((1.0, "rmse"), (1e-3, "rmse"), (1.0, "mse"), (1e-3, "huber")):
        scaled = [Structure(s.positions, s.species, factor * s.energy, cell=s.cell)
                  for s in one_species()]  # fmt: skip
        made = driver(scaled, loss=loss, huber_delta=1.0, method=KFAC(batchsize=12))
        made.run(3, show_progress=False)
        finals.append(ravel_pytree(made.parameters)[0])
    for other in finals[1:]:
        np.testing.assert_allclose(other, finals[0], rtol=1e-6, atol=1e-9)


USUAL = {"lr": 0.1, "batchsize": 6, "inverse_period": 2, "momentum": 0.5, "weight_decay": 1e-6}


@pytest.mark.medium
@pytest.mark.bits
def test_blocks_and_restarts_have_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"method": KFAC(**USUAL), "force_weight": 0.1, "precision": "float32",
                "gradient_clip": 1.0, "schedule": "cosine", "warmup_epochs": 1}  # fmt: skip
    made = potential()
    whole = made.driver(dataset=dataset(), config=config(iterations=4, **settings))
    whole.run(4 * whole.n_batches, show_progress=False)
    steps = potential().driver(dataset=dataset(), config=config(iterations=4, **settings))
    steps.run(7, max_block=1, show_progress=False)
    saved = steps.snapshot()
    steps.run(5, max_block=1, show_progress=False)
    again = potential().driver(dataset=dataset(), config=config(iterations=4, **settings))
    again.restore(saved)
    again.run(5, show_progress=False)
    for other in (steps, again):
        for a, b in zip(jax.tree.leaves(whole.carry.params), jax.tree.leaves(other.carry.params),
                        strict=True):  # fmt: skip
            assert a.dtype == jnp.float32
            np.testing.assert_array_equal(a, b)
    first = made.first_parameters(0)
    assert not np.allclose(jax.tree.leaves(first)[0], jax.tree.leaves(whole.carry.params)[0])


@pytest.mark.medium
def test_members_of_a_committee_have_curvatures_of_their_own():
    settings = config(force_weight=0.0, iterations=2, method=KFAC(**USUAL), testpercent=0)
    committee = CommitteePotential(ARCH, descriptor())
    committee.train(dataset=dataset(), config=settings, committee_config=CommitteeConfig(2))
    alone = potential()
    alone.train(dataset=dataset(), config=settings)
    first, second = (leaves(member) for member in committee.members)
    for a, b in zip(first, leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)
    assert not np.allclose(first[1], second[1])


@pytest.mark.slow
def test_forces_are_trained_too():
    settings = {"force_weight": 0.5, "method": KFAC(lr=0.1, batchsize=12), "testpercent": 25}
    made = potential().driver(dataset=dataset(), config=config(**settings))
    before = made.errors()
    made.run(40, show_progress=False)
    after = made.errors()
    for name in ("RMSE_train", "RMSE_force_train"):
        assert after[name] < 0.8 * before[name], name


def test_a_parameter_that_is_in_no_layer_has_an_exact_block(caplog):
    """One step of Gauss-Newton, as the energy is proportional to it."""
    springs = GraphPotential(Springs(), ["Ti", "O"], dtype="float64")
    structures = tio2(8)
    with caplog.at_level(logging.INFO):
        made = springs.driver(structures, config(
            force_weight=0.0, testpercent=0, method=KFAC(lr=1.0, batchsize=8, **NEWTON)
        ))  # fmt: skip
    assert "KFAC found no linear layers in this model, and has 1 exact block of 1" in caplog.text
    jacobian, residuals, q = dense(made)[:3]
    best = 1 - (jacobian[:, 0] * q) @ residuals / (jacobian[:, 0] ** 2 @ q)
    made.run(1, show_progress=False)
    assert made.parameters["k"] == pytest.approx(best, rel=1e-6)


@pytest.mark.slow
def test_message_passing_networks_are_trained_with_forces():
    made = GraphPotential(PaiNN(4.0, 6, 1, 3), ["Ti", "O"], dtype="float64")
    out = made.train(tio2(), config(
        iterations=8, force_weight=0.3, testpercent=0, method=KFAC(lr=0.05, batchsize=12)
    ))  # fmt: skip
    for name in ("RMSE_train", "RMSE_force_train"):
        assert out.errors[name].iloc[-1] < out.errors[name].iloc[0], name


@pytest.mark.slow
def test_conformance():
    settings = config(iterations=2, method=KFAC(**USUAL))
    check_driver(lambda: potential().driver(dataset=dataset(), config=settings), steps=4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 0}, ValueError, "lr must be a positive number"),
        ({"batchsize": 0}, ValueError, "batchsize must be a whole number of at least 1"),
        ({"diag_shift": 0}, ValueError, "diag_shift must be above 0, but 0 was given"),
        ({"norm_constraint": "x"}, TypeError, "norm_constraint takes a number or a schedule"),
        ({"decay": 1}, ValueError, "decay must be below 1"),
        ({"inverse_period": 0}, ValueError, "inverse_period must be a whole number"),
        ({"sharing": "mean"}, ValueError, "sharing must be 'expand' or 'reduce'"),
        ({"momentum": 1}, ValueError, "momentum must be below 1"),
        ({"largest_exact": -1}, ValueError, "largest_exact must be a whole number"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be a number of at least 0"),
        ({"rate": 1}, TypeError, "rate"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        KFAC(**arguments)


def test_a_loss_without_energies_is_refused():
    for weights in ({"force_weight": 1.0}, {"force_weight": 0.5, "final_force_weight": 1.0}):
        with pytest.raises(ValueError, match="have no part in it; give less than 1, or Adam"):
            TrainingConfig(method=KFAC(), **weights)
