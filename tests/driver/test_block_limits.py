"""Blocks that cannot be taken back, signals and time limits within blocks."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import (
    ProgressBar,
    StopRun,
    Timeout,
)
from ritz.driver import StopReason
from ritz.driver.blocks.block import Block
from ritz.driver.blocks.plan import BlockLength
from ritz.driver.blocks.replay import Replay
from tests.driver.noisy import Carry, NoisyDriver, NoisyKernel
from tests.driver.tools import at, raising, run

# Without speculation


def test_without_speculation_nothing_is_taken_back():
    reference, driver = NoisyDriver(), NoisyDriver()
    kept = driver.parameters
    run(reference, 20)
    log = run(driver, 20, ProgressBar(), speculate=False)
    assert driver.bits == reference.bits and "block" in log
    np.asarray(kept)  # an array that somebody held is not given up

    stopped = NoisyDriver()
    stop = at(12, raising(StopRun("here")), order=100)
    log = run(stopped, 20, stop, speculate=False)  # it may stop at any step: all are live
    assert stopped.step_count == 12 and "block" not in log


def test_an_error_in_a_block_that_cannot_be_taken_back(caplog):
    driver, reference = NoisyDriver(), NoisyDriver()
    driver._length._limit = 100
    fail = at(2, raising(OSError("disk full")))
    fail.decides = False
    with pytest.raises(OSError, match="disk full"):
        run(driver, 10, fail, speculate=False)
    assert "7 more steps" in caplog.text or "8 more steps" in caplog.text
    assert driver.step_count == 10  # as many as were applied
    run(reference, 10)
    assert driver.bits == reference.bits


# Signals and time


class SlowKernel(NoisyKernel):
    """About a millisecond a step."""

    def propose(self, carry, batch):
        big = jnp.ones((150, 150)) * carry.params[0]
        busy = jax.lax.fori_loop(0, 10, lambda i, x: jnp.tanh(x @ x), big)
        carry, proposal = super().propose(carry, batch)
        return carry, proposal._replace(metrics={"busy": busy[0, 0]})


jax.tree_util.register_static(SlowKernel)


@pytest.mark.medium
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_act_within_half_a_second(number):
    driver = NoisyDriver(kernel=SlowKernel())
    run(driver, 300)  # compiled, and blocks as long as they get
    sent = []

    def send():
        time.sleep(0.5)
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(driver, 10**6)
    thread.join()
    assert time.monotonic() - sent[0] < 0.5
    assert driver.stop_reason is StopReason.INTERRUPTED
    reference = NoisyDriver(kernel=SlowKernel())
    run(reference, driver.step_count)
    assert driver.bits == reference.bits


def test_time_limits_act_within_half_a_second():
    driver = NoisyDriver(kernel=SlowKernel())
    run(driver, 300)
    start = time.monotonic()
    log = run(driver, 10**6, Timeout(per_run=0.5))
    assert 0.5 <= time.monotonic() - start < 1.0
    assert driver.stop_reason is StopReason.TIMED_OUT
    assert driver.step_count - 300 in (len(log["loss"]), len(log["loss"]) - 1)


def test_blocks_are_as_long_as_fits_into_a_fifth_of_a_second():
    length = BlockLength()
    block = Block(None, (), None, (np.zeros(64), {}), np.int32(64), True)
    played = Replay(0, (), block, time.perf_counter() - 1.0)
    assert length.next(1000) == 1
    length.done(played)
    assert 10 <= length.next(1000) <= 13  # 64 steps took one second
    length.cut(3)
    assert length.next(1000) == 3
    played.compiled = True
    length.done(played)
    assert length.next(5) == 5


def test_the_key_of_a_carry_may_be_of_either_kind():
    driver = NoisyDriver()
    driver.key = jax.random.PRNGKey(0)

    class Raw(NoisyKernel):
        def sample(self, carry):
            key, own = jax.random.split(jax.random.wrap_key_data(carry.key))
            carry = carry._replace(key=jax.random.key_data(key))
            return carry, jax.random.normal(own, (5, 3))

    jax.tree_util.register_static(Raw)
    driver._kernel = Raw()
    run(driver, 5)
    reference = NoisyDriver()
    run(reference, 5)
    assert isinstance(driver.carry, Carry)
    np.testing.assert_array_equal(driver.parameters, reference.parameters)


# A kernel that pauses


class PausingKernel(NoisyKernel):
    """Needs the host whenever the first parameter is negative."""

    def pauses(self, carry):
        return carry.params[0] < 0


jax.tree_util.register_dataclass(PausingKernel, [], ["rate"])


class PausingDriver(NoisyDriver):
    """Makes the parameter positive again; notes at which steps."""

    def __init__(self):
        super().__init__(kernel=PausingKernel())
        self.attended = []

    def attend(self):
        if self.parameters[0] < 0:
            self.attended.append(self.step_count)
            self.parameters = jnp.abs(self.parameters)


@pytest.mark.parametrize("settings", [{}, {"max_block": 1}, {"max_block": 7}, {"speculate": False}])
def test_a_kernel_pauses_at_the_same_steps_whatever_the_blocks(settings):
    reference, driver = PausingDriver(), PausingDriver()
    for _ in range(60):
        run(reference, 1)
    run(driver, 60, ProgressBar(), **settings)

    assert len(reference.attended) > 3
    assert driver.attended == reference.attended
    assert driver.bits == reference.bits


def test_a_callback_for_every_run():
    driver, seen = NoisyDriver(), []
    driver.register_hook(lambda step, row, driver: seen.append(step))
    run(driver, 3)
    run(driver, 2)
    assert seen == [0, 1, 2, 3, 4]
