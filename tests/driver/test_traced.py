"""Traced parts of callbacks: compiled into blocks, and seen in live steps too."""

import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    BestState,
    LambdaCallback,
    NormMonitor,
    ParameterEMA,
    StopRun,
)
from ritz.driver.blocks.block import run_block
from ritz.testing import check_callback
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import LiveAt, at, raising, run


def reference_series(n_iter):
    """Parameters after each step, and losses, seen by a callback at the end of one-step blocks."""
    driver = NoisyDriver()
    seen = [(np.array(driver.parameters), info.loss) for info in driver.steps(n_iter)]
    return [np.array([1.0, -2.0, 0.5]), *(p for p, _ in seen)], [loss for _, loss in seen]


@pytest.mark.parametrize(
    "live", [lambda step: False, lambda step: step % 3 == 1, lambda step: True]
)
def test_averages_and_best_states_need_no_live_steps(live):
    n_iter = 30
    parameters, losses = reference_series(n_iter)
    ema, best, everything = ParameterEMA(0.9, start_from_step=4), BestState(), LiveAt(live)
    log = run(NoisyDriver(), n_iter, ema, best, everything)
    assert ("block" in log) == (not live(1) or not live(0))
    weights = 0.9 ** np.arange(n_iter - 4)[::-1]
    expected = np.einsum("t,tp->p", weights / weights.sum(), np.array(parameters[5:]))
    np.testing.assert_allclose(ema.parameters, expected, rtol=1e-12)
    assert ema.weight == pytest.approx(weights.sum())
    scores = [loss.mean + loss.error_of_mean for loss in losses]
    assert best.best_step == int(np.argmin(scores))
    assert best.best_score == pytest.approx(min(scores), rel=1e-14)
    assert best.best_value == pytest.approx(losses[best.best_step].mean, rel=1e-14)
    np.testing.assert_allclose(best.parameters, parameters[best.best_step], rtol=1e-13)


def test_the_best_step_may_be_the_one_that_stops_the_run():
    _, losses = reference_series(12)
    scores = [loss.mean + loss.error_of_mean for loss in losses]
    step = int(np.argmin(scores))
    assert step > 2
    driver, best = NoisyDriver(), BestState(restore=True)
    driver._length._limit = 100
    run(driver, 12, best, at(step, raising(StopRun("here")), order=100))
    assert best.best_step == step == driver.step_count
    np.testing.assert_array_equal(best.parameters, driver.parameters)


def test_an_average_has_the_steps_before_the_one_that_stops_the_run():
    averages = []
    for limit in (1, 100):
        driver, ema = NoisyDriver(), ParameterEMA(0.5)
        driver._length._limit = limit
        stop = at(5, raising(StopRun("here")), order=100)
        run(driver, 12, ema, stop, *([LiveAt(lambda step: True)] if limit == 1 else []))
        averages.append((ema.weight, *ema.parameters))
    assert averages[0][0] == sum(0.5**k for k in range(5))
    np.testing.assert_allclose(averages[0], averages[1], rtol=1e-13)


def test_a_monitor_that_the_kernel_does_not_compute_makes_its_callback_live():
    best = BestState("mine", z=0.0, mode="max")
    mine = LambdaCallback(
        order=-5, live=False, before_parameter_update=lambda s, row, d: row.update(mine=float(s))
    )
    driver = NoisyDriver()
    log = run(driver, 5, mine, best)
    assert "block" not in log
    assert best.best_step == 4 and best.best_value == 4.0


def test_a_callback_of_ones_own_with_a_traced_part():
    class Farthest(AbstractCallback):
        """How far the parameters have been from where they started."""

        traced_settings = ()
        distance = None

        def init_traced(self, carry):
            return {"start": carry.params, "distance": 0.0}

        def traced(self, callback_carry, carry, metrics):
            distance = jnp.linalg.norm(carry.params - callback_carry["start"])
            farthest = jnp.maximum(callback_carry["distance"], distance)
            return {**callback_carry, "distance": farthest}

        def load_traced(self, callback_carry):
            self.distance = float(callback_carry["distance"])

        def traced_metrics(self, carry, proposal):
            return {"update_norm": jnp.linalg.norm(proposal.update)}

    parameters, _ = reference_series(20)
    expected = max(np.linalg.norm(p - parameters[0]) for p in parameters)
    for live in (lambda step: False, lambda step: step % 2 == 0):
        farthest = Farthest()
        log = run(NoisyDriver(), 20, farthest, LiveAt(live))
        assert farthest.distance == pytest.approx(expected, rel=1e-12)
        assert log["update_norm"].values.shape == (20,)


def test_callbacks_with_equal_traced_parts_share_a_program():
    run(NoisyDriver(), 3, ParameterEMA(0.5), BestState())
    before = run_block._cache_size()
    run(NoisyDriver(seed=1), 3, ParameterEMA(0.5), BestState())
    assert run_block._cache_size() == before
    run(NoisyDriver(), 3, ParameterEMA(0.25), BestState())
    assert run_block._cache_size() == before + 1


def test_norms_are_those_of_live_steps():
    every, live = run(NoisyDriver(), 8, NormMonitor(2)), {}

    def measure(step, log_data, driver):
        live[step] = (np.linalg.norm(driver.parameters), np.linalg.norm(driver.update))

    run(NoisyDriver(), 8, LambdaCallback(before_parameter_update=measure))
    assert every["norms"]["update"].iters.tolist() == [0, 2, 4, 6]
    for place, step in enumerate((0, 2, 4, 6)):
        np.testing.assert_allclose(every["norms"]["parameters"][place], live[step][0], rtol=1e-12)
        np.testing.assert_allclose(every["norms"]["update"][place], live[step][1], rtol=1e-12)


@pytest.mark.parametrize("make", [ParameterEMA, BestState, NormMonitor])
def test_traced_callbacks_conform(make):
    check_callback(make, NoisyDriver)
