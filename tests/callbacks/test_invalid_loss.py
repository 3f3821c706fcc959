"""Losses that are not finite."""

import math
import types

import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    ConvergenceStopping,
    EarlyStopping,
    InvalidLossStopping,
    PlateauStopping,
    ReduceLROnPlateau,
    StopRun,
)
from ritz.driver.callback import CallbackOrder, StopReason
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


def test_everything_that_is_logged_can_be_watched():
    class Odd(AbstractCallback):
        def before_parameter_update(self, step, log_data, driver):
            log_data["odd"] = {
                "even": 0.0,
                "parts": np.array([0.0, math.inf if step == 2 else 1.0]),
            }
            log_data["stats"] = {"R_hat": math.nan}

    for monitor in (None, "odd", "odd.parts"):
        driver = QuadraticDriver()
        stopping = InvalidLossStopping(monitor)
        driver.run(4, callback=[Odd(), stopping], show_progress=False)
        assert driver.step_count == 2 and driver.stop_reason is StopReason.DIVERGED
        said = f"stopped by InvalidLossStopping: {monitor or 'odd'} is inf at step 2"
        assert driver.stop_message == said


def test_a_patient_one_decides_in_place_of_the_driver():
    losses = [1.0, math.nan, math.nan, 1.0, 1.0]
    assert stopped_at(losses, InvalidLossStopping(patience=3)) == 5
    driver = Series(losses)
    driver.run(
        5, callback=InvalidLossStopping(patience=3), on_divergence="stop", show_progress=False
    )
    assert driver.step_count == 1


@pytest.mark.parametrize(
    "condition",
    [
        EarlyStopping(patience=9),
        PlateauStopping(window=3),
        ConvergenceStopping(0.0),
        ReduceLROnPlateau(),
        EarlyStopping(patience=9) & ConvergenceStopping(0.0),
        EarlyStopping(patience=9) | ConvergenceStopping(0.0),
    ],
    ids=lambda c: c.state_key,
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_conditions_react_in_one_way(condition, bad):
    class Logs(AbstractCallback):
        callback_order = CallbackOrder.OBSERVE

        def before_parameter_update(self, step, log_data, driver):
            log_data["mean"] = bad if step == 3 else 10.0 - step

    stopped, skipped = QuadraticDriver(), QuadraticDriver()
    stopped.run(6, callback=[Logs(), condition], show_progress=False)
    assert stopped.step_count == 3 and stopped.stop_reason is StopReason.DIVERGED
    assert f"mean is {bad}" in stopped.stop_message
    skipped.run(6, callback=[Logs(), condition], show_progress=False, on_divergence="ignore")
    assert skipped.step_count == 6 and skipped.stop_reason is StopReason.FINISHED
