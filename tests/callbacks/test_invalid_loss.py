"""Losses that are not finite."""

import math
import types

import numpy as np
import pytest

from ritz.callbacks import (
    InvalidLossStopping,
    StopRun,
)
from ritz.loggers import RuntimeLog
from ritz.testing import QuadraticDriver
from tests.callbacks.series import Series, stopped_at


def test_invalid_loss_stops_before_the_update():
    assert stopped_at([1.0, 1.0, math.nan, 1.0], InvalidLossStopping()) == 2
    assert stopped_at([1.0, math.inf], InvalidLossStopping()) == 1
    assert stopped_at([math.nan], InvalidLossStopping("loss.variance")) == 0


def test_a_missing_quantity_is_an_error_here_too():
    with pytest.raises(ValueError, match=r"monitor 'Enrgy' is not logged; this run logs: loss"):
        stopped_at([1.0], InvalidLossStopping("Enrgy"))


def test_invalid_loss_patience():
    losses = [1.0] * 3 + [math.nan] * 20
    stop = stopped_at(losses, InvalidLossStopping(patience=5))
    assert stop == 2 + 5
    assert stopped_at([1.0, math.nan] * 10, InvalidLossStopping(patience=2)) == 20


def test_invalid_loss_by_hand():
    stopping = InvalidLossStopping(patience=2)
    stopping._last_valid_iter = 50  # of another driver
    stopping.on_step_end(None, {}, types.SimpleNamespace(_loss_stats=None, step_count=0))
    bad = types.SimpleNamespace(mean=math.nan)
    for count in range(2):
        stopping.on_step_end(None, {}, types.SimpleNamespace(_loss_stats=bad, step_count=count))
    with pytest.raises(StopRun, match="mean is nan, for 2 steps"):
        stopping.on_step_end(None, {}, types.SimpleNamespace(_loss_stats=bad, step_count=2))


class Flaky(QuadraticDriver):
    """The loss is NaN at the first `bad` attempts at step 2."""

    def __init__(self, bad):
        super().__init__()
        self.bad, self.attempts = bad, 0

    def compute_loss_and_update(self):
        stats, update = super().compute_loss_and_update()
        if self.step_count == 2:
            self.attempts += 1
            if self.attempts <= self.bad:
                return stats._replace(mean=math.nan), update * math.nan
        return stats, update


def test_invalid_loss_rejects():
    driver, log = Flaky(2), RuntimeLog()
    driver.run(4, out=log, callback=InvalidLossStopping(policy="reject"), show_progress=False)
    assert (driver.step_count, driver.updates) == (4, 4)
    assert list(log.data["attempts"].iters) == [2] and list(log.data["attempts"].values) == [3]
    assert np.all(np.isfinite(driver.parameters))


def test_invalid_loss_gives_up_rejecting():
    driver = Flaky(99)
    stopping = InvalidLossStopping(policy="reject", patience=3)
    driver.run(4, callback=stopping, show_progress=False)
    assert driver.step_count == 2 and "after 3 retries" in driver.stop_message


def test_invalid_loss_rolls_back_to_the_last_valid_step():
    class Poisoned(QuadraticDriver):
        """The second update makes the parameters infinite, once."""

        def update_parameters(self, update):
            super().update_parameters(update)
            if self.updates == 2:
                self.parameters = self.parameters * math.inf

    driver, log = Poisoned(), RuntimeLog()
    driver.run(4, out=log, callback=InvalidLossStopping(policy="rollback"), show_progress=False)
    losses = log.data["loss"]["mean"]
    assert driver.step_count == driver.updates == 4
    assert losses[2] == losses[1]  # step 2 was taken again from the parameters of step 1
    assert np.all(np.isfinite(driver.parameters))


def test_invalid_loss_gives_up_rolling_back():
    class Hopeless(QuadraticDriver):
        def update_parameters(self, update):
            super().update_parameters(update * math.nan)

    driver = Hopeless()
    driver.run(9, callback=InvalidLossStopping(policy="rollback", patience=2), show_progress=False)
    assert "after going back 2 times" in driver.stop_message
    first = Series([math.nan])
    first.run(1, callback=InvalidLossStopping(policy="rollback"), show_progress=False)
    assert "no valid step to go back to" in first.stop_message
