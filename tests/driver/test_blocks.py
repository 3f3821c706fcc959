"""Blocks: what runs in one, how it is replayed, and how it is taken back."""

import logging
import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    BestState,
    EarlyStopping,
    LambdaCallback,
    NormMonitor,
    Observables,
    ParameterEMA,
    ProgressBar,
    ReduceLROnPlateau,
    StopRun,
    Timeout,
)
from ritz.driver import DeferredAccessError, Proposal, StopReason, blocks
from ritz.loggers import CSVLog, HDF5Log, JsonLog, RuntimeLog
from ritz.testing import check_callback, check_driver
from tests.driver.noisy import Carry, NoisyDriver, NoisyKernel
from tests.driver.tools import Diary, LiveAt, text


def run(driver, n_iter, *callbacks, **arguments):
    log = RuntimeLog()
    driver.run(n_iter, out=log, callback=list(callbacks), show_progress=False, **arguments)
    return log.data


class Deferred(Diary):
    def is_live(self, step):
        return False


def at(step, act, hook="before_parameter_update", order=0):
    """A deferred callback that does something in one hook of one step."""

    def do(now, log_data, driver):
        return act(driver) if now == step else None

    return LambdaCallback(order=order, live=False, **{hook: do})


def raising(error):
    def act(driver):
        raise error

    return act


def test_conformance():
    check_driver(NoisyDriver)


# What is called, and when


def test_a_block_calls_the_hooks_of_every_step_in_order():
    diary = Deferred()
    log = run(NoisyDriver(), 3, diary)
    assert text(diary.diary) == "RS " + "SS CS CE BU SE " * 3 + "RE"
    assert log["block"].iters.tolist() == [1]  # the first block has one step: compilation
    assert log["block"].values.tolist() == [2]


@pytest.mark.parametrize("max_block", [1, None])
@pytest.mark.parametrize(
    ("hook", "expected", "count"),
    [
        ("on_step_start", "RS SS CS CE BU SE SS RE", 1),
        ("on_compute_update_end", "RS SS CS CE BU SE SS CS CE RE", 1),
        ("before_parameter_update", "RS SS CS CE BU SE SS CS CE BU RE", 1),
        ("on_step_end", "RS SS CS CE BU SE SS CS CE BU SE RE", 2),
    ],
)
def test_golden_order_of_a_stop_within_a_block(hook, expected, count, max_block):
    diary, driver = Deferred(hook=hook, error=StopRun("stop")), NoisyDriver()
    driver._length._limit = 8
    run(driver, 5, diary, max_block=max_block)
    assert text(diary.diary) == expected
    assert driver.step_count == count
    reference = NoisyDriver()
    run(reference, count)
    assert driver.bits == reference.bits


def test_golden_order_of_an_error_within_a_block():
    diary, driver = Deferred(hook="before_parameter_update", error=ValueError("no")), NoisyDriver()
    driver._length._limit = 8
    with pytest.raises(ValueError, match="no"):
        run(driver, 5, diary)
    assert text(diary.diary) == "RS SS CS CE BU SE SS CS CE BU ER"
    assert driver.stop_reason is StopReason.FAILED and driver.step_count == 1


def test_a_rejection_within_a_block_draws_fresh_samples():
    losses = []
    note = at(2, lambda driver: losses.append(driver.loss), "on_compute_update_end")
    reject = at(2, lambda driver: driver.step_attempt < 2, "on_compute_update_end")
    driver, diary = NoisyDriver(), Deferred()
    driver._length._limit = 8
    log = run(driver, 5, diary, note, reject)
    assert text(diary.diary) == (
        "RS " + "SS CS CE BU SE " * 2 + "SS CS CE " * 3 + "BU SE " + "SS CS CE BU SE " * 2 + "RE"
    )
    assert len({loss.mean for loss in losses}) == 3
    assert (log["attempts"].iters.tolist(), log["attempts"].values.tolist()) == ([2], [3])
    assert log["loss"]["mean"][2] == losses[-1].mean
    assert driver.step_count == 5


def test_live_steps_split_blocks():
    live = LiveAt(lambda step: step % 4 == 0)
    driver = NoisyDriver()
    driver._length._limit = 100
    log = run(driver, 10, live)
    assert dict(zip(log["block"].iters, log["block"].values, strict=True)) == {1: 3, 5: 3}
    assert sorted(live.seen) == [0, 4, 8]
    for step, parameters in live.seen.items():  # the state of that very step
        reference = NoisyDriver()
        run(reference, step + 1, LiveAt(live.chosen))
        np.testing.assert_array_equal(parameters, reference.parameters)


def test_observables_make_only_their_own_steps_live():
    driver = NoisyDriver()
    driver._estimate_one = lambda observable, fullsum: observable(driver.parameters)
    driver._length._limit = 100
    log = run(driver, 21, Observables({"sum": lambda p: float(p.sum())}, interval=10))
    assert log["sum"].iters.tolist() == [0, 10, 20]
    assert dict(zip(log["block"].iters, log["block"].values, strict=True)) == {1: 9, 11: 9}


def test_built_in_callbacks_do_not_hinder_blocks(tmp_path):
    driver = NoisyDriver()
    driver.working_dir = tmp_path
    driver._length._limit = 100
    driver.adjustable = frozenset({"rate_scale"})
    callbacks = [
        EarlyStopping(patience=100), Timeout(100.0), ProgressBar(), ParameterEMA(), BestState(),
        NormMonitor(), ReduceLROnPlateau(patience=100),
    ]  # fmt: skip
    log = RuntimeLog()
    driver.run(
        40, out=[log, JsonLog("a"), CSVLog("b"), HDF5Log("c")], callback=callbacks,
        show_progress=False,
    )  # fmt: skip
    assert log.data["block"].values.tolist() == [40]


# What may be asked for


def test_a_deferred_callback_cannot_see_the_state():
    class EarlyWarning(AbstractCallback):
        def is_live(self, step):
            return False

        def on_step_end(self, step, log_data, driver):
            if step == 3:
                driver.state  # noqa: B018

    driver = NoisyDriver()
    driver._length._limit = 8
    with pytest.raises(DeferredAccessError) as caught:
        run(driver, 6, EarlyWarning())
    assert str(caught.value) == (
        "EarlyWarning asked for driver.state at step 3 while the steps 0-5 ran as one block; "
        "return True from is_live at the steps where it needs the driver's state."
    )
    assert driver.step_count == 4
    driver.state  # noqa: B018


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: d.parameters, lambda d: d.update, lambda d: setattr(d, "update", 1),
        lambda d: d.snapshot(), lambda d: d.trial_loss(1), lambda d: d.carry,
        lambda d: setattr(d, "parameters", 1),
    ],
)  # fmt: skip
def test_nothing_of_the_state_can_be_had_in_a_block(ask):
    with pytest.raises(DeferredAccessError):
        run(NoisyDriver(), 2, at(0, ask))


def test_loss_and_row_can_be_had_in_a_block():
    seen = []
    look = LambdaCallback(
        live=False, before_parameter_update=lambda s, row, d: seen.append((d.loss, row["loss"]))
    )
    log = run(NoisyDriver(), 5, look)
    assert [row.mean for _, row in seen] == log["loss"]["mean"].tolist()
    assert all(loss is row for loss, row in seen)


def test_the_settled_state_is_there_at_the_end_of_a_block():
    seen = {}

    def look(step, log_data, driver):
        if driver.settled_state is not None:
            seen[step] = np.array(driver.settled_state.parameters)

    driver = NoisyDriver()
    driver._length._limit = 8
    run(driver, 6, LambdaCallback(live=False, on_step_end=look))
    assert list(seen) == [5]
    np.testing.assert_array_equal(seen[5], driver.parameters)


def test_steps_gives_the_state_after_each_step():
    driver, whole = NoisyDriver(), NoisyDriver()
    seen = [np.array(driver.parameters) for _ in driver.steps(5)]
    run(whole, 5)
    np.testing.assert_array_equal(seen[-1], whole.parameters)
    assert len({tuple(p) for p in seen}) == 5

    driver._length._limit = 8
    steps = driver.steps(4, max_block=4)
    next(steps)
    with pytest.raises(DeferredAccessError):
        driver.state  # noqa: B018
    steps.close()  # the block is taken back to the step that was seen
    run(whole, 1)
    assert driver.step_count == 6 and driver.bits == whole.bits


def test_a_callback_may_change_the_driver_after_a_step():
    def halve(driver):
        driver.after_step(lambda: setattr(driver, "parameters", driver.parameters / 2))

    first, second = NoisyDriver(), NoisyDriver()
    first._length._limit = 8
    run(first, 6, at(2, halve))
    run(second, 3)
    second.parameters = second.parameters / 2
    run(second, 3)
    assert first.bits == second.bits and first.step_count == 6


def test_metrics_and_times_in_blocks():
    driver = NoisyDriver()
    log = run(driver, 100)
    assert log["largest"].values.shape == (100,) and log["vector"].values.shape == (100, 3)
    assert np.all(np.diff(log["wallclock"].values) > 0)
    for first, length in zip(log["block"].iters, log["block"].values, strict=True):
        inside = np.diff(log["wallclock"].values[first : first + length])
        np.testing.assert_allclose(inside, inside[0], rtol=1e-3)  # shared out evenly
    assert driver.update.shape == (3,)  # that of the last step


# Compilation


def test_one_program_serves_all_lengths(caplog):
    class Fresh(NoisyKernel):
        traces = 0

        def apply(self, carry, update):
            Fresh.traces += 1
            return super().apply(carry, update)

    jax.tree_util.register_static(Fresh)
    driver = NoisyDriver(kernel=Fresh())
    before = blocks.run_block._cache_size()
    with caplog.at_level(logging.INFO, "ritz"):
        for length in (1, 2, 3, 7, 64, 130):
            driver._length._limit = 1024
            run(driver, length)
        for max_block in range(1, 9):
            run(driver, 9, max_block=max_block)
    assert blocks.run_block._cache_size() == before + 1
    # Once for the shapes and once for the program, however often it ran.
    assert Fresh.traces == 2
    assert caplog.text.count("the block program was compiled") == 1


def test_compiling_again_within_a_run_is_a_warning(caplog):
    driver = NoisyDriver()
    slower = LiveAt(lambda step: step == 3)
    slower.on_step_end = lambda *_: setattr(driver, "_kernel", NoisyKernel(rate=0.0123))
    run(driver, 2)
    with caplog.at_level(logging.WARNING, "ritz"):
        driver._compiled_in_run = False
        run(NoisyDriver(kernel=NoisyKernel(rate=0.0345)), 3)
        assert not caplog.records
        driver._kernel = NoisyKernel(rate=0.0456)
        run(driver, 6, slower)
    assert "the block program was compiled again" in caplog.text
    assert "a shape, type or setting of the driver has changed" in caplog.text


def test_a_carry_that_changes_its_type_says_so():
    class Growing(NoisyKernel):
        def apply(self, carry, update):
            return carry._replace(momentum=carry.momentum.astype(jnp.float16))

    jax.tree_util.register_static(Growing)
    with pytest.raises(TypeError, match=r"momentum.*must never change, so cast it in the kernel"):
        run(NoisyDriver(kernel=Growing()), 2)


def test_a_kernel_without_loss_or_metrics_runs_in_blocks():
    class Silent(NoisyKernel):
        def propose(self, carry, batch):
            carry, proposal = super().propose(carry, batch)
            return carry, Proposal(None, proposal.update, {})

    jax.tree_util.register_static(Silent)
    driver = NoisyDriver(kernel=Silent())
    log = run(driver, 9)
    assert driver.step_count == 9 and list(log) == ["wallclock", "block"]


# Traced parts


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
    before = blocks.run_block._cache_size()
    run(NoisyDriver(seed=1), 3, ParameterEMA(0.5), BestState())
    assert blocks.run_block._cache_size() == before
    run(NoisyDriver(), 3, ParameterEMA(0.25), BestState())
    assert blocks.run_block._cache_size() == before + 1


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
    length = blocks.BlockLength()
    block = blocks.Block(None, (), None, (np.zeros(64), {}), np.int32(64))
    playback = blocks.Playback(0, (), block, time.perf_counter() - 1.0)
    assert length.next(1000) == 1
    length.done(playback)
    assert 10 <= length.next(1000) <= 13  # 64 steps took one second
    length.cut(3)
    assert length.next(1000) == 3
    playback.compiled = True
    length.done(playback)
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
