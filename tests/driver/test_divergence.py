"""Losses, updates and parameters that are not finite: no run goes on with them."""

import logging
import types

import numpy as np
import pytest

from ritz.callbacks import BestState, LambdaCallback, ParameterEMA
from ritz.driver import AbstractDriver, StopReason
from ritz.loggers import RuntimeLog
from ritz.testing import QuadraticDriver
from tests.driver.fragile import FragileDriver

WAYS = {
    "blocks": {},
    "single blocks": {"max_block": 1},
    "three": {"max_block": 3},
    "in place": {"speculate": False},
    "live": {"callback": LambdaCallback(on_step_end=lambda step, log_data, driver: None)},
}


def run(way, n=20, **kernel):
    options = dict(WAYS[way])
    on_divergence = kernel.pop("on_divergence", None)
    driver, log = FragileDriver(**kernel), RuntimeLog()
    driver.run(n, out=log, show_progress=False, on_divergence=on_divergence, **options)
    return driver, log


def parameters_after(n):
    driver, _ = run("blocks", n)
    return np.asarray(driver.parameters)


@pytest.mark.medium
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, 1, 7, 19])
@pytest.mark.parametrize("breaks", ["loss", "update", "parameters"])
def test_a_run_stops_before_the_update_and_keeps_the_last_good_state(way, at, breaks):
    driver, log = run(way, breaks=breaks, at=at)
    assert driver.stop_reason is StopReason.DIVERGED
    assert breaks in driver.stop_message and f"step {at}" in driver.stop_message
    assert "smaller learning rate" in driver.stop_message
    assert driver.step_count == at
    assert list(log.data["loss"].iters) == list(range(at + 1))
    # A loss speaks of the parameters it was computed with: those before the last update are good.
    back = breaks == "loss" and way != "in place"
    assert np.array_equal(driver.parameters, parameters_after(max(at - back, 0)))
    found, failed, _ = driver.failed_state
    assert found.quantity == breaks
    assert np.isfinite(failed.params).all() == (breaks == "loss" or way == "in place")


@pytest.mark.bits
@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_diverge_has_the_same_bits_under_each_policy(way):
    expected = parameters_after(20)
    for policy in ("stop", "retry", "ignore"):
        driver, log = run(way, on_divergence=policy)
        assert driver.stop_reason is StopReason.FINISHED
        assert np.array_equal(driver.parameters, expected)
        assert "retries" not in log.data and "suspect" not in log.data


@pytest.mark.parametrize("breaks", ["loss", "update", "parameters"])
def test_retrying_goes_back_with_other_samples_and_a_smaller_rate(breaks, caplog):
    found = {}
    for way in ("blocks", "single blocks", "three", "live"):
        driver, log = run(way, breaks=breaks, at=7, chance=0.4, on_divergence="retry")
        assert driver.stop_reason is StopReason.FINISHED and driver.step_count == 20
        retries = log.data["retries"]
        assert retries.iters[0] == 7
        assert driver.rate_scale == 0.5 ** sum(retries.values)
        assert list(log.data["loss"].iters) == list(range(20))
        assert np.isfinite(log.data["loss"].values).all()
        found[way] = np.asarray(driver.parameters)
    assert all(np.array_equal(found["blocks"], other) for other in found.values())
    assert "back to the last good state with other samples and rate_scale=0.5" in caplog.text


@pytest.mark.parametrize(("breaks", "end"), [("update", 7), ("loss", 12)])
def test_retrying_gives_up_after_five_times_in_a_row(breaks, end):
    driver, log = run("blocks", breaks=breaks, at=7, on_divergence="retry")
    # A loss speaks of the step before: that one is taken anew and counted, five times in a row.
    assert driver.stop_reason is StopReason.DIVERGED and driver.step_count == end
    assert "after going back 5 times" in driver.stop_message
    assert driver.rate_scale == 0.5**5
    assert list(log.data["loss"].iters) == list(range(end + 1))
    assert np.isfinite(driver.parameters).all()


def test_ignoring_goes_on():
    driver, log = run("blocks", breaks="update", at=7, on_divergence="ignore")
    assert driver.stop_reason is StopReason.FINISHED and driver.step_count == 20
    assert np.isnan(driver.parameters).all() and np.isnan(log.data["loss"].values[8:]).all()


def test_a_run_that_diverged_can_go_on_in_the_same_process():
    driver, _ = run("blocks", breaks="loss", at=7, chance=0.5)
    for _ in range(9):
        driver.run(20 - driver.step_count, show_progress=False)
    assert driver.step_count == 20 and np.isfinite(driver.parameters).all()


def test_the_best_state_is_never_of_an_infinite_loss():
    class Sinking(QuadraticDriver):
        def compute_loss_and_update(self):
            stats, update = super().compute_loss_and_update()
            return (stats._replace(mean=-np.inf) if self.step_count == 3 else stats), update

    best = BestState()
    Sinking().run(6, callback=best, show_progress=False, on_divergence="ignore")
    assert best.best_step == 5 and np.isfinite(best.best_value)


class PlainFragile(QuadraticDriver):
    """Written by hand, without a kernel."""

    def __init__(self, breaks, at, times=99):
        super().__init__()
        self.breaks, self.at, self.times = breaks, at, times

    def _broken(self, what):
        if self.breaks != what or self.step_count != self.at or self.times == 0:
            return False
        self.times -= 1
        return True

    def compute_loss_and_update(self):
        stats, update = super().compute_loss_and_update()
        if self._broken("loss"):
            stats = stats._replace(variance=np.inf)
        if self._broken("update"):
            update = update * np.nan
        return stats, update

    def update_parameters(self, update):
        super().update_parameters(update)
        if self._broken("parameters"):
            self.parameters[:] = np.inf  # in place


@pytest.mark.parametrize("breaks", ["loss", "update", "parameters"])
@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_driver_by_hand_is_guarded_too(breaks, at):
    driver = PlainFragile(breaks, at)
    driver.run(6, show_progress=False)
    assert driver.stop_reason is StopReason.DIVERGED and breaks in driver.stop_message
    good = PlainFragile("nothing", -1)
    good.run(max(at - (breaks == "loss"), 0), show_progress=False)
    assert driver.step_count == at and np.array_equal(driver.parameters, good.parameters)


@pytest.mark.parametrize("breaks", ["loss", "update", "parameters"])
def test_a_driver_by_hand_retries(breaks):
    driver, log = PlainFragile(breaks, 3, times=2), RuntimeLog()
    driver.run(8, out=log, show_progress=False, on_divergence="retry")
    times = 1 if breaks == "parameters" else 2  # those are broken once, then it is another step
    assert driver.stop_reason is StopReason.FINISHED and driver.damping_scale == 10**times
    assert np.isfinite(driver.parameters).all()
    assert sum(log.data["retries"].values) == times


class Bare(AbstractDriver):
    """Its state has no `parameters`."""

    def __init__(self):
        super().__init__(types.SimpleNamespace(x=1.0))

    def reset_step(self):
        pass

    def compute_loss_and_update(self):
        return (np.nan if self.step_count == 3 else self.state.x**2), self.state.x

    def update_parameters(self, update):
        self.state.x -= 0.1 * update


def test_a_state_without_parameters_is_left_as_it_is():
    driver = Bare()
    driver.run(6, show_progress=False)
    assert driver.stop_reason is StopReason.DIVERGED and driver.step_count == 3
    assert not driver.failed_state.went_back
    with pytest.raises(ValueError, match="needs a driver that can go back, and Bare cannot"):
        Bare().run(6, on_divergence="retry")


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="on_divergence must be 'stop', 'retry' or 'ignore'"):
        QuadraticDriver().run(3, on_divergence="rollback")


def test_the_end_is_told_as_a_warning(caplog):
    caplog.set_level(logging.INFO, "ritz")
    run("blocks", breaks="loss", at=4)
    (record,) = [r for r in caplog.records if "Run ended" in r.message]
    assert record.levelno == logging.WARNING and "not finite at step 4 (nan)" in record.message


@pytest.mark.parametrize("on_divergence", ["stop", "retry"])
@pytest.mark.parametrize("way", ["blocks", "three", "live"])
def test_averages_leave_out_what_was_given_up(way, on_divergence):
    """One update is enormous, and the loss after it infinite."""
    average, options = ParameterEMA(0.5), dict(WAYS[way])
    callbacks = [average, *([options.pop("callback")] if "callback" in options else [])]
    driver = FragileDriver(breaks="leap", at=4, chance=0.9)
    driver.run(12, callback=callbacks, show_progress=False, on_divergence=on_divergence, **options)
    assert np.abs(driver.parameters).max() < 2 and np.abs(average.parameters).max() < 2
    if on_divergence == "stop":
        assert driver.stop_reason is StopReason.DIVERGED and driver.step_count == 5
        four, steady = FragileDriver(), ParameterEMA(0.5)
        four.run(4, callback=steady, show_progress=False)
        assert np.array_equal(average.parameters, steady.parameters)
