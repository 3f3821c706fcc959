"""The curvature of energies against dense Gauss-Newton matrices."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ritz.mlip import (
    KFAC,
    GraphPotential,
    PaiNN,
)
from ritz.mlip.training.curvature import blocks_of_model, curvature_of_energies, products
from ritz.mlip.training.losses import Loss, Residuals
from tests.mlip.systems import (
    config,
    potential,
    tio2,
)
from tests.mlip.training.gauss_newton import (
    NEWTON,
    columns,
    dense,
    driver,
    random_parameters,
    some_structures,
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


@pytest.mark.medium
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


@pytest.mark.medium
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


def test_blocks_of_a_model():
    made = potential()
    with jax.enable_x64(True):
        blocks = blocks_of_model(made.model, made.first_parameters(0), 1000)
    assert blocks.summary == "4 Kronecker blocks of 194 parameters"
