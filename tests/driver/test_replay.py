"""Steps within blocks at which only rows and the last two hooks matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import ConvergenceStopping, EarlyStopping, LambdaCallback, StopRun
from ritz.driver import DeferredAccessError, StopReason
from ritz.driver.blocks.transfers import Packed
from ritz.loggers import JsonLog, RuntimeLog
from tests.driver.noisy import NoisyDriver, NoisyKernel
from tests.driver.tools import LiveAt


def run(driver, n_iter, *callbacks, out=(), **arguments):
    driver.run(n_iter, out=out, callback=list(callbacks), show_progress=False, **arguments)


LAST = ("before_parameter_update", "on_step_end")


def long_blocks():
    driver = NoisyDriver()
    driver._length._limit = 100
    return driver


def noting(diary, act=lambda hook, step, driver: None, name="a"):
    """A deferred callback with the last two hooks, which notes what it sees."""

    def hook(which):
        def call(step, log_data, driver):
            seen = driver.step_count, driver.loss.mean, driver.elapsed == log_data["wallclock"]
            diary.append((name, which, step, *seen, dict(log_data)["loss"]))
            act(which, step, driver)

        return call

    return LambdaCallback(live=False, **{which: hook(which) for which in LAST})


def raising_at(hook, step, error):
    def act(which, now, driver):
        if (which, now) == (hook, step):
            raise error

    return act


@pytest.mark.parametrize("hook", LAST)
@pytest.mark.parametrize("error", [StopRun("enough"), ValueError("broken")])
def test_what_ends_a_run_in_a_block_ends_it_as_in_single_steps(hook, error):
    seen = []
    for max_block in (1, None):
        driver, diary = long_blocks(), []
        first = noting(diary, raising_at(hook, 3, error))
        log = RuntimeLog()
        try:
            run(driver, 12, first, noting(diary, name="b"), max_block=max_block, out=log)
        except ValueError as found:
            assert found is error
        ended = driver.step_count, driver.stop_reason, driver.stop_message, driver.loss
        seen.append((diary, *ended, driver.bits, log.data["loss"]["mean"].tolist()))
    assert seen[0] == seen[1]
    assert seen[0][1] == 3 + (hook == "on_step_end")


def test_all_who_want_to_stop_in_a_block_are_named():
    driver = long_blocks()
    stops = [
        noting([], raising_at("on_step_end", 4, StopRun(name)), name) for name in ("one", "two")
    ]
    run(driver, 12, *stops)
    assert driver.stop_message == ("stopped by LambdaCallback: one; stopped by LambdaCallback: two")
    assert (driver.step_count, driver.stop_reason) == (5, StopReason.STOPPED)


@pytest.mark.parametrize("hook", LAST)
def test_who_asks_for_the_state_in_a_block_is_named(hook):
    driver = long_blocks()
    curious = noting([], lambda which, step, d: d.state if which == hook else None)
    with pytest.raises(DeferredAccessError, match=r"LambdaCallback asked for driver\.state"):
        run(driver, 12, curious)
    assert driver.step_count == 0 + (hook == "on_step_end")


def test_an_action_after_a_step_ends_the_block_there():
    found = []
    for max_block in (1, None):
        driver, states = long_blocks(), []

        def act(which, step, driver, states=states):
            if (which, step) == ("on_step_end", 4):
                driver.after_step(lambda: states.append(np.asarray(driver.parameters)))

        log = RuntimeLog()
        run(driver, 12, noting([], act), max_block=max_block, out=log)
        found.append((np.asarray(states).tolist(), driver.bits, log.data["loss"]["mean"].tolist()))
    assert found[0] == found[1] and len(found[0][0]) == 1


def test_steps_without_hooks_are_skipped_and_their_results_are_not():
    found = []
    for callbacks in ((), (noting([]),)):
        driver = long_blocks()
        run(driver, 30, *callbacks, out=())
        found.append((driver.step_count, driver.loss, driver.bits, driver._metrics["largest"]))
        assert driver.elapsed > 0
    assert found[0] == found[1]
    infos = list(long_blocks().steps(30, max_block=None))
    assert [info.step for info in infos] == list(range(30))
    assert infos[-1].loss == found[0][1] and infos[7].log_data["loss"] == infos[7].loss


def test_loggers_that_share_rows_have_them_at_every_step():
    """Blocks and live steps in turns, and rows of another kind in between."""
    first, second, alone, lengths = RuntimeLog(), JsonLog("shared"), RuntimeLog(), []

    def look(step, log_data, driver):
        lengths.append((step, len(first.data["loss"]), len(second.data["loss"])))

    def add(step, log_data, driver):
        if step in (5, 17):
            log_data["note"] = float(step)

    # One adds to rows before the loggers see them, the other looks at the logs after that.
    look = LambdaCallback(live=False, order=100, on_step_end=look)
    add = LambdaCallback(live=False, before_parameter_update=add)
    driver = long_blocks()
    driver.run(
        40,
        out=[first, second],
        callback=[look, add, LiveAt(lambda step: step % 13 == 0)],
        show_progress=False,
    )
    other = long_blocks()
    other.run(40, out=alone, callback=[add], max_block=1, show_progress=False)
    assert lengths == [(step, step + 1, step + 1) for step in range(40)]
    for log in (first, second):
        for part in ("mean", "error_of_mean"):
            np.testing.assert_array_equal(log.data["loss"][part], alone.data["loss"][part])
        assert log.data["note"].iters.tolist() == [5, 17]
        np.testing.assert_array_equal(log.data["loss"].iters, np.arange(40))


@pytest.mark.parametrize("change", ["nothing", "update", "parameters", "kernel"])
def test_what_a_callback_changes_in_a_live_step_counts(change):
    driver = NoisyDriver()

    def act(step, log_data, driver):
        if change == "update":
            driver.update = 2 * driver.update
        elif change == "parameters":
            driver.parameters = driver.parameters + 1
        elif change == "kernel":
            driver._kernel = NoisyKernel(rate=0.5)
        wanted.append(driver.parameters - driver.kernel.rate * driver.update)

    wanted, found = [], []
    both = LambdaCallback(
        before_parameter_update=act, on_step_end=lambda s, _, d: found.append(d.parameters)
    )
    run(driver, 3, both)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_packed_trees_come_back_as_they_were():
    tree = {
        "a": jnp.float32(1.5), "b": (jnp.int32(-3), jnp.bool_(True)), "c": jnp.arange(4.0),
        "d": jnp.complex64(1 + 2j), "e": jnp.bool_(False), "f": jnp.float32(jnp.nan),
        "g": jnp.bfloat16(0.5), "h": jnp.zeros((0, 2)), "i": {},
    }  # fmt: skip
    found = jax.jit(Packed.pack)(tree).to_host()
    assert (found["a"], found["b"], found["d"], found["e"]) == (1.5, (-3, True), 1 + 2j, False)
    assert type(found["a"]) is float and type(found["b"][0]) is int
    assert found["b"][1] is True and found["e"] is False
    assert np.isnan(found["f"]) and found["g"] == 0.5 and found["i"] == {}
    np.testing.assert_array_equal(found["c"], np.arange(4.0))
    assert found["h"].shape == (0, 2)
    only = jax.jit(Packed.pack)((jnp.bool_(True), ()))
    assert only.to_host() == (True, ())


def test_combined_conditions_stop_in_blocks_where_they_stop_step_by_step():
    def steps(max_block):
        driver = NoisyDriver()
        either = EarlyStopping(patience=4) & ConvergenceStopping(0.5) | EarlyStopping(patience=9)
        driver.run(300, callback=either, show_progress=False, max_block=max_block)
        return driver.step_count, driver.stop_message

    assert steps(None) == steps(1) and steps(1)[0] < 300
