"""Blocks: what runs in one, how it is replayed, and how it is taken back."""

import logging
import threading

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
from ritz.driver import DeferredAccessError, Proposal, StopReason
from ritz.driver.blocks.block import run_block
from ritz.driver.blocks.compilations import n_compilations
from ritz.loggers import CSVLog, HDF5Log, JsonLog, RuntimeLog
from ritz.testing import check_driver
from tests.driver.noisy import NoisyDriver, NoisyKernel
from tests.driver.tools import Deferred, LiveAt, at, run, text


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
        EarlyStopping(patience=100),
        Timeout(100.0),
        ProgressBar(),
        ParameterEMA(),
        BestState(),
        NormMonitor(),
        ReduceLROnPlateau(patience=100),
    ]
    log = RuntimeLog()
    driver.run(
        40,
        out=[log, JsonLog("a"), CSVLog("b"), HDF5Log("c")],
        callback=callbacks,
        show_progress=False,
    )
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


def test_a_block_of_one_step_is_no_range_of_steps():
    told = str(DeferredAccessError("asked for driver.state", 1, range(1, 2)))
    assert "at step 1 while step 1 ran as one block; return True" in told


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: d.parameters,
        lambda d: d.update,
        lambda d: setattr(d, "update", 1),
        lambda d: d.snapshot(),
        lambda d: d.trial_loss(1),
        lambda d: d.carry,
        lambda d: setattr(d, "parameters", 1),
    ],
)
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
    before = run_block._cache_size()
    with caplog.at_level(logging.INFO, "ritz"):
        for length in (1, 2, 3, 7, 64, 130):
            driver._length._limit = 1024
            run(driver, length)
        for max_block in range(1, 9):
            run(driver, 9, max_block=max_block)
    assert run_block._cache_size() == before + 1
    assert Fresh.traces == 1
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


def test_compilations_are_those_of_this_thread():
    one, other = jax.jit(lambda x: x + 1.25), jax.jit(lambda x: x + 1.75)
    x = jnp.ones(3)
    before = n_compilations()
    one(x)
    assert n_compilations() == before + 1
    one(x + 0)
    after = n_compilations()  # `x + 0` is a program too
    one(x)
    thread = threading.Thread(target=other, args=(x,))
    thread.start()
    thread.join()
    assert n_compilations() == after
