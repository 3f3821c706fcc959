"""KFAC in training, against dense Gauss-Newton matrices and least squares."""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ritz.mlip import (
    KFAC,
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    GraphPotential,
    PaiNN,
    Structure,
    TrainingConfig,
)
from ritz.mlip.models.abstract_model import Batch
from ritz.mlip.training.curvature import Sums, blocks_of_model, curvature_of_energies, products
from ritz.mlip.training.losses import Loss, Residuals
from ritz.testing import check_driver
from ritz.updates.kfac import parts_of
from tests.mlip.models.test_graph import Springs
from tests.mlip.systems import (
    ARCH,
    config,
    dataset,
    descriptor,
    leaves,
    potential,
    random_structure,
    tio2,
)

NEWTON = {"diag_shift": 1e-12, "norm_constraint": None, "decay": 0.0}
"""Nothing but the curvature of the step."""


def some_structures():
    """Of several sizes and compositions, in pairs; the first ones are without titanium."""
    found = []
    both = ("Ti", "O")
    kinds = [(("O",), 3), (("O",), 5), (both, 4), (("O",), 1), (both, 9), (("Ti",), 2), (both, 6)]
    for seed, (species, n) in enumerate(kinds):
        s = random_structure(seed, species, n)
        weight = 2.0 if n == 4 else 1.0
        energy = 0.1 * np.random.default_rng(seed).normal() * n
        found.append(Structure(s.positions, s.species, energy, cell=s.cell, weight=weight))
    return found


def driver(structures=None, arch=ARCH, kind=descriptor, **settings):
    usual = {"force_weight": 0.0, "testpercent": 0, "atomic_energies": {}}
    if structures is None:
        return potential().driver(dataset=dataset(), config=config(**{**usual, **settings}))
    return ANNPotential(arch, kind()).driver(structures, config(**{**usual, **settings}))


class Dense(NamedTuple):
    """What is known of the next batch."""

    jacobian: np.ndarray
    """Of energies per atom, in units of half of their range."""
    residuals: np.ndarray
    q: np.ndarray
    """Weights, which add up to one."""
    batch: Batch
    sums: Sums

    @property
    def matrix(self):
        return self.jacobian.T @ (self.q[:, None] * self.jacobian)


@jax.jit
def _dense(kernel, carry):
    _, [batch] = kernel.sample(carry)
    batch = batch._replace(tables=None)
    vector, restore = ravel_pytree(carry.params)
    model, scales, [size] = kernel.settings.model, kernel.normalisation, kernel.settings.capacity

    def residuals(vector):
        energy = model.predict(restore(vector), scales, batch, size).energy
        return (energy - batch.labels.energy) / batch.n_atoms * scales.e_scaling

    q = batch.labels.weight / jnp.sum(batch.labels.weight)
    sums = kernel.settings.curvature.sums(carry.params, scales, [batch], [size], q)
    return Dense(jax.jacrev(residuals)(vector), residuals(vector), q, batch, sums)


def dense(made):
    with made._precision():
        found = _dense(made.kernel, made.carry)
    return Dense(*(np.asarray(part) for part in found[:3]), *found[3:])


def columns(made):
    """For each block the columns of its parameters, in the order of its matrix."""
    ends = np.cumsum([leaf.size for leaf in jax.tree.leaves(made.carry.params)])
    numbers = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape), made.carry.params)
    leaves, structure = jax.tree.flatten(numbers)
    begins = [0, *ends[:-1]]
    numbers = [leaf + begin for leaf, begin in zip(leaves, begins, strict=True)]
    blocks = made.kernel.settings.curvature.blocks
    parts = parts_of(jax.tree.unflatten(structure, numbers), blocks)
    return blocks, [np.asarray(part).ravel() for part in parts]


def random_parameters(made):
    """Biases begin at zero; others are as good."""
    random = np.random.default_rng(1)
    with made._precision():
        made.state.parameters = jax.tree.map(
            lambda leaf: jnp.asarray(leaf + 0.3 * random.normal(size=leaf.shape)),
            made.state.parameters,
        )


def test_last_layers_have_the_exact_matrix_and_others_means_and_sums_over_atoms():
    made = driver(some_structures(), method=KFAC(batchsize=7, sharing="reduce"))
    random_parameters(made)
    jacobian, _, q, batch, sums = found = dense(made)
    made = driver(some_structures(), method=KFAC(batchsize=7, sharing="expand"))
    random_parameters(made)
    bounds_above = iter(products(dense(made).sums))
    blocks, places_of = columns(made)
    kinds = {"O": 1, "Ti": 0}
    bounds = np.cumsum([0, *made.kernel.settings.capacity[0].atoms])
    for block, factors, product, own in zip(blocks, sums, products(sums), places_of, strict=True):
        a, g = product
        above = next(bounds_above)
        symbol, layer, _ = block.parameters[0].split("/")
        assert block.layer is not None and block.layer.kind == "linear"
        if layer == "1":
            for factors_ in (product, above):
                matrix = found.matrix[np.ix_(own, own)]
                np.testing.assert_allclose(np.kron(*factors_), matrix, atol=1e-12)
            continue
        for small, large in zip(product, above, strict=True):
            values = np.linalg.eigvalsh(large - small)
            assert values.min() > -1e-12 and values.max() > 1e-3
        places = slice(bounds[kinds[symbol]], bounds[kinds[symbol] + 1])
        slot, valid = batch.slot[places], np.asarray(batch.valid[places])
        features = np.concatenate([batch.inputs[places], np.ones((len(slot), 1))], axis=1)
        is_in = (np.asarray(slot) == np.arange(len(q))[:, None]) & valid
        there = is_in.any(axis=1)
        assert there.sum() == (6 if symbol == "O" else 4)
        means = (is_in @ features)[there] / is_in.sum(axis=1)[there, None]
        assert factors.weight == pytest.approx(q[there].sum())
        wanted = np.einsum("s,sa,sb->ab", q[there], means, means) / q[there].sum()
        np.testing.assert_allclose(a, wanted, atol=1e-12)
        # The row of biases of the Jacobian is the sum of slopes.
        slopes = jacobian[:, own.reshape(len(a), -1)[-1]]
        np.testing.assert_allclose(g, slopes.T @ (q[:, None] * slopes), atol=1e-12)


@pytest.mark.parametrize("sharing", ["reduce", "expand"])
def test_every_block_is_exact_for_a_structure_of_one_atom(sharing):
    atom = [s for s in some_structures() if len(s) == 1]
    made = driver(atom, method=KFAC(batchsize=4, sharing=sharing), E_shift=0.0, E_scaling=3.0)
    random_parameters(made)
    found = dense(made)
    exact, sums = found.matrix, found.sums
    blocks, places_of = columns(made)
    for (a, g), own in zip(products(sums), places_of, strict=True):
        np.testing.assert_allclose(np.kron(a, g), exact[np.ix_(own, own)], atol=1e-12)
    assert np.linalg.norm(exact) > 0.1
    for factors, block in zip(sums, blocks, strict=True):
        if block.parameters[0].startswith("Ti"):  # of which there is none
            assert not any(np.any(leaf) for leaf in factors)


def cosine(matrix, a, b):
    return a @ matrix @ b / np.sqrt((a @ matrix @ a) * (b @ matrix @ b))


@pytest.mark.parametrize("sharing", ["reduce", "expand"])
def test_directions_are_closer_to_gauss_newton_than_the_gradient_is(sharing):
    rule = {**NEWTON, "diag_shift": 1e-3}
    made = driver(method=KFAC(lr=1.0, batchsize=24, sharing=sharing, **rule))
    found = dense(made)
    jacobian, residuals, q = found[:3]
    matrix = found.matrix
    gradient = jacobian.T @ (q * residuals)
    exact = np.linalg.solve(matrix + 1e-3 * np.eye(len(matrix)), gradient)
    before = ravel_pytree(made.state.parameters)[0]
    made.run(1, show_progress=False)
    found = np.asarray(before - ravel_pytree(made.state.parameters)[0])
    assert cosine(matrix, found, exact) > cosine(matrix, gradient, exact) + 0.05
    assert cosine(np.eye(len(found)), found, gradient) > 0  # downhill


def one_species():
    return [
        Structure(s.positions, s.species, np.random.default_rng(n).normal() * len(s), cell=s.cell)
        for n, s in enumerate(random_structure(n, ("O",), 3 + n % 3) for n in range(24))
    ]


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


def test_weights_of_the_curvature_are_those_of_the_loss():
    """For energies that are the parameters themselves, against second derivatives."""
    errors = jnp.array([0.3, -0.002, 0.001, 0.0])
    weights = np.array([1.0, 2.0, 1.0, 0.0])
    parts = {}
    for kind in ("rmse", "mse", "huber"):
        loss = Loss(kind, huber_delta=0.01)
        q, kappa = curvature_of_energies(loss, Residuals(errors, weights), jnp.asarray(0.25))
        assert jnp.sum(q) == pytest.approx(1.0)
        parts[kind] = q * kappa
        slope = jax.grad(lambda e, loss=loss: loss(Residuals(e, weights), 0.25, 0.0))(errors)
        # Of quadratic functions with the minimum at 0 the slope is curvature times distance.
        np.testing.assert_allclose(parts[kind] * errors, slope, rtol=1e-5)
    np.testing.assert_allclose(parts["mse"], 0.75 * 2 * weights / 4, rtol=1e-6)
    q, kappa = curvature_of_energies(Loss("rmse"), Residuals(0 * errors, weights), jnp.asarray(0.0))
    assert kappa == 0 and np.all(np.isfinite(q))
    q, kappa = curvature_of_energies(Loss("mse"), Residuals(errors, 0 * weights), jnp.asarray(0.0))
    assert kappa == 0 and not np.any(q)


USUAL = {"lr": 0.1, "batchsize": 6, "inverse_period": 2, "momentum": 0.5, "weight_decay": 1e-6}


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


def test_message_passing_networks(caplog):
    made = GraphPotential(PaiNN(4.0, 4, 1, 2), ["Ti", "O"], dtype="float64")
    with caplog.at_level(logging.INFO):
        trained = made.driver(tio2(6), config(
            force_weight=0.0, testpercent=0, method=KFAC(batchsize=6, largest_exact=40)
        ))  # fmt: skip
    assert "Kronecker (Dense)        5^2 x 12^2       params/message_0_out/kernel" in caplog.text
    found, kinds = dense(trained), set()
    blocks, places_of = columns(trained)
    for block, product, own in zip(blocks, products(found.sums), places_of, strict=True):
        wanted = found.matrix[np.ix_(own, own)]
        if block.layer is None:
            kinds.add(block.kind)
            wanted = np.diag(wanted) if block.kind == "diagonal" else wanted
            np.testing.assert_allclose(product[0], wanted, atol=1e-12)
        elif block.layer.n_outputs == 1:
            np.testing.assert_allclose(np.kron(*product), wanted, atol=1e-12)
        elif block.layer.bias is None:  # of vectors: an upper bound, as they add up at the most
            gap = np.kron(*product) - wanted
            assert np.trace(gap) > 0
    assert kinds == {"exact", "diagonal"}


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


def test_blocks_of_a_model():
    made = potential()
    with jax.enable_x64(True):
        blocks = blocks_of_model(made.model, made.first_parameters(0), 1000)
    assert blocks.summary == "4 Kronecker blocks of 194 parameters"


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
