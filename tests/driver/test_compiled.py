"""A driver made from a kernel, on least squares with minibatches."""

import dataclasses
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.driver import CompiledDriver, Kernel, Proposal
from ritz.driver.blocks import live
from ritz.driver.blocks.block import run_block
from ritz.loggers import RuntimeLog
from ritz.testing import check_driver


class Carry(NamedTuple):
    params: jax.Array
    key: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Regression(Kernel):
    inputs: jax.Array
    targets: jax.Array
    batch_size: int = dataclasses.field(metadata={"static": True})

    def sample(self, carry):
        key, own = jax.random.split(carry.key)
        batch = jax.random.choice(own, len(self.inputs), (self.batch_size,), replace=False)
        return carry._replace(key=key), batch

    def loss(self, weights, batch):
        return jnp.mean((self.inputs[batch] @ weights - self.targets[batch]) ** 2)

    def propose(self, carry, batch):
        value, gradient = jax.value_and_grad(self.loss)(carry.params, batch)
        return carry, Proposal(value, gradient, {"largest": jnp.max(jnp.abs(gradient))})

    def apply(self, carry, update):
        return carry._replace(params=carry.params - 0.1 * update)


class RegressionDriver(CompiledDriver):
    kernel = batch = None

    def __init__(self, kernel):
        super().__init__(types.SimpleNamespace(parameters=jnp.zeros(3)), "mse")
        self.kernel, self.key = kernel, jax.random.key(0)

    @property
    def carry(self):
        return Carry(self.state.parameters, self.key)

    @carry.setter
    def carry(self, carry):
        self.state.parameters, self.key = carry

    def snapshot(self):
        return self.carry

    def restore(self, snapshot, *, fresh_samples=False):
        self.carry = snapshot


@pytest.fixture(scope="module")
def kernel():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((40, 3)))
    return Regression(x, x @ jnp.array([1.0, -2.0, 0.5]), 10)


def test_conformance(kernel):
    check_driver(lambda: RegressionDriver(kernel))


def test_it_converges_and_logs_metrics(kernel):
    driver, log = RegressionDriver(kernel), RuntimeLog()
    driver.run(150, out=log, show_progress=False)
    np.testing.assert_allclose(driver.parameters, [1.0, -2.0, 0.5], atol=1e-3)
    assert log.data["largest"].values[0] > log.data["largest"].values[-1]
    assert isinstance(driver.loss, float)  # on the host
    assert isinstance(driver.update, jax.Array)  # on the device


def test_the_default_trial_is_the_loss_on_the_same_batch(kernel):
    driver = RegressionDriver(kernel)
    driver.reset_step()
    _, update = driver.compute_loss_and_update()
    expected = kernel.loss(driver.parameters - 0.1 * update, driver.batch)
    assert driver.trial_loss(update) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_array_equal(driver.parameters, np.zeros(3))


def test_a_batch_put_in_is_used(kernel):
    driver, batches = RegressionDriver(kernel), []
    mine = jnp.arange(10)
    put = LambdaCallback(
        on_compute_update_start=lambda s, _, d: setattr(d, "batch", mine),
        on_step_end=lambda s, _, d: batches.append(d.batch),
    )
    key = driver.key
    driver.run(1, callback=put, show_progress=False)
    np.testing.assert_array_equal(batches[0], mine)
    assert jnp.array_equal(jax.random.key_data(driver.key), jax.random.key_data(key))


def test_kernels_of_one_kind_share_programs(kernel):
    programs = (live.draw_and_step, live.apply, run_block)
    RegressionDriver(kernel).run(1, show_progress=False)
    sizes = [p._cache_size() for p in programs]
    other = dataclasses.replace(kernel, targets=kernel.targets + 1)
    RegressionDriver(other).run(2, show_progress=False)
    assert [p._cache_size() for p in programs] == sizes


def test_a_trial_without_samples_says_so(kernel):
    with pytest.raises(RuntimeError, match="trial_loss needs the samples of a step"):
        RegressionDriver(kernel).trial_loss(jnp.zeros(3))
