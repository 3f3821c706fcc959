"""Stop conditions: NetKet's behaviours, and where Ritz is right and NetKet is not."""

import math
import types

import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    BestState,
    ConvergenceStopping,
    EarlyStopping,
    InvalidLossStopping,
    LambdaCallback,
    PlateauStopping,
    ReduceLROnPlateau,
    StopRun,
    Timeout,
)
from ritz.callbacks.plateau_stopping import fitted_change
from ritz.checkpoint import Checkpoint
from ritz.driver import StopReason
from ritz.driver.callback import CallbackOrder
from ritz.testing import QuadraticDriver
from tests.callbacks.series import Series, stopped_at


def by_hand(callback, losses):
    """The step at which `on_step_end`, called on bare objects, raises."""
    driver = types.SimpleNamespace(_loss_name="loss")
    for step, loss in enumerate(losses):
        try:
            callback.on_step_end(step, {"loss": types.SimpleNamespace(mean=loss)}, driver)
        except StopRun:
            return step
    return None


def test_patience_counts_steps_without_improvement():
    stopping = EarlyStopping(patience=10)
    stopping._best_val = -math.inf
    assert stopped_at([1.0] * 50, stopping) == 10
    assert by_hand(EarlyStopping(patience=10), [1.0] * 50) == 11


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (EarlyStopping("error", patience=1), "for 2 epochs; the best was 1 at epoch 0"),
        (PlateauStopping("error", window=3), "over 3 epochs, within"),
        (ConvergenceStopping(2.0, patience=1, monitor="error"), "for 2 epochs"),
        (EarlyStopping("loss", patience=1), "for 2 steps; the best was 0 at step 0"),
    ],
)
def test_what_is_counted_is_told(condition, told):
    class ByEpochs(Series):
        logs = ("error",)
        period = "epoch", 3

        def _log_additional_data(self, log_data):
            if self.step_count % 3 == 2:
                log_data["error"] = 1.0

    driver = ByEpochs([0.0] * 20)
    driver.run(20, callback=condition, show_progress=False)
    assert told in driver.stop_message


def test_improvements_reset_the_counter():
    losses = [3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    stopping = EarlyStopping(patience=2)
    assert stopped_at(losses, stopping) == 7
    assert (stopping.best_value, stopping.best_step) == (1.0, 4)


def test_baseline_must_be_beaten_too():
    losses = [100.0 - k for k in range(50)]
    assert stopped_at(losses, EarlyStopping(patience=10, baseline=-1.0)) == 10
    assert stopped_at(losses, EarlyStopping(patience=10, baseline=95.0)) == 50


def test_steps_before_the_start_are_ignored():
    losses = [0.0] * 5 + [1.0] * 20
    assert stopped_at(losses, EarlyStopping(patience=3, start_from_step=5)) == 9


def test_relative_delta_works_below_zero():
    # Each step improves |E| by 1 %: with a margin of 10 % that is no improvement.
    losses = [-100.0 * 1.01**k for k in range(30)]
    assert stopped_at(losses, EarlyStopping(patience=5, min_reldelta=0.1)) == 6
    assert stopped_at(losses, EarlyStopping(patience=5, min_reldelta=0.005)) == 30
    positive = [100.0 / 1.01**k for k in range(30)]
    assert stopped_at(positive, EarlyStopping(patience=5, min_reldelta=0.1)) == 6


def test_absolute_delta():
    losses = [10.0 - 0.1 * k for k in range(30)]
    assert stopped_at(losses, EarlyStopping(patience=1, min_delta=0.5)) == 2
    assert stopped_at(losses, EarlyStopping(patience=1, min_delta=0.05)) == 30


def test_mode_max():
    assert stopped_at([1.0, 2.0, 3.0, 3.0, 3.0], EarlyStopping(patience=1, mode="max")) == 4


def test_suspect_rows_never_improve():
    class Doubtful(AbstractCallback):
        callback_order = CallbackOrder.OBSERVE

        def before_parameter_update(self, step, log_data, driver):
            if step == 2:
                log_data["suspect"] = "acceptance"

    early, driver = EarlyStopping(patience=9), Series([3.0, 2.0, -1e9, 1.0])
    driver.run(4, callback=[Doubtful(), early], show_progress=False)
    assert (early.best_step, early.best_value) == (3, 1.0)


def test_any_logged_quantity_and_the_real_part():
    losses = [1.0 + 5j, 0.5 + 4j, 0.5 + 3j, 0.5]
    assert stopped_at(losses, EarlyStopping("loss.mean", patience=0)) == 2
    assert stopped_at(losses, EarlyStopping("mean", patience=0)) == 2
    assert stopped_at([1.0] * 4, EarlyStopping("loss.variance", patience=1)) == 2


def test_a_missing_name_lists_the_names():
    with pytest.raises(ValueError, match=r"monitor 'Enrgy' is not logged; this run logs: loss"):
        stopped_at([1.0], EarlyStopping("Enrgy"))
    with pytest.raises(ValueError, match=r"'mean.x' is not logged"):
        QuadraticDriver().run(1, callback=EarlyStopping("mean.x"), show_progress=False)
    with pytest.raises(ValueError, match=r"loss \(loss.mean, loss.error_of_mean, loss.variance\)"):
        QuadraticDriver().run(1, callback=EarlyStopping("Loss"), show_progress=False)


def test_an_array_is_no_quantity():
    def log(step, log_data, driver):
        log_data["pair"] = np.ones(2)

    with pytest.raises(ValueError, match=r"monitor 'pair' is not a single number"):
        Series([1.0]).run(
            1,
            show_progress=False,
            callback=[LambdaCallback(before_parameter_update=log), EarlyStopping("pair")],
        )


def test_quantities_logged_now_and_then_count_where_they_are_logged():
    driver = QuadraticDriver()
    driver.run(
        20,
        obs={"flat": lambda p: 1.0},
        step_size=3,
        callback=EarlyStopping("flat", patience=2),
        show_progress=False,
    )
    assert driver.step_count == 9  # logged at 0 (best), 3, 6 and 9


def test_a_second_run_gets_its_patience_again():
    stopping, driver = EarlyStopping(patience=3), Series([1.0] * 50)
    driver.run(20, callback=stopping, show_progress=False)
    assert driver.step_count == 4
    driver.run(20, callback=stopping, show_progress=False)
    assert driver.step_count == 4 + 3


def test_a_restored_callback_stays_stopped():
    stopping, driver = EarlyStopping(patience=3), Series([1.0] * 50)
    driver.run(20, callback=stopping, show_progress=False)
    restored = EarlyStopping(patience=3)
    restored.load_state_dict(stopping.state_dict())
    driver.run(20, callback=restored, show_progress=False)
    assert driver.step_count == 4


def test_a_state_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"saved state of EarlyStopping has the fields \['x'\]"):
        EarlyStopping().load_state_dict({"x": 1})


@pytest.mark.parametrize(("window", "stop"), [(1, 11), (3, 13)])
def test_convergence_on_netkets_series(window, stop):
    # Two steps before the target: the mean over three is below it two steps later.
    losses = [10.0] + [0.0] * 40
    stopping = ConvergenceStopping(target=1.0, patience=10, smoothing_window=window)
    assert stopped_at(losses, stopping) == stop


def test_convergence_is_interrupted_by_a_bad_step():
    losses = [0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]
    assert stopped_at(losses, ConvergenceStopping(1.0, patience=2, smoothing_window=1)) == 5


def test_plateau_goes_on_while_it_falls_and_stops_when_it_is_noise():
    random = np.random.default_rng(3)
    steps = np.arange(600)
    falling = -10 + 5 * np.exp(-steps / 60)
    noisy = falling + 0.01 * random.standard_normal(600)
    stop = stopped_at(list(noisy), PlateauStopping(window=50), [0.01] * 600)
    # Over 50 steps the change is below the fit's error of 0.0048 from step 400 on.
    assert 300 < stop < 500
    assert abs(falling[stop] - falling[-1]) < 0.02


def test_plateau_needs_no_error_bars():
    random = np.random.default_rng(5)
    values = list(-0.1 * np.arange(30)) + list(-3 + 0.01 * random.standard_normal(100))
    stop = stopped_at(values, PlateauStopping(window=20))
    assert 45 <= stop <= 80


@pytest.mark.parametrize("constant", [1.0, 0.1, -1 / 3, 1e5 / 7])
def test_what_does_not_change_is_a_plateau(constant):
    for window in range(3, 20):
        assert fitted_change(np.full(window, constant), np.full(window, np.nan)) == (0, 0)
        assert stopped_at([constant] * 30, PlateauStopping(window=window)) < 30


def test_plateau_does_not_stop_a_rise():
    assert stopped_at(list(np.arange(50.0)), PlateauStopping(window=10), [0.1] * 50) == 50


def test_fitted_change_against_numpy():
    random = np.random.default_rng(0)
    values, errors = random.standard_normal(40), random.uniform(0.5, 2, 40)
    coefficients, covariance = np.polyfit(np.arange(40), values, 1, w=1 / errors, cov="unscaled")
    change, error = fitted_change(values, errors)
    assert change == pytest.approx(39 * coefficients[0], rel=1e-10)
    assert error == pytest.approx(39 * math.sqrt(covariance[0, 0]), rel=1e-10)
    _, covariance = np.polyfit(np.arange(40), values, 1, cov=True)
    _, error = fitted_change(values, np.zeros(40))
    assert error == pytest.approx(39 * math.sqrt(covariance[0, 0]), rel=1e-10)


def test_the_error_of_the_plateau_fit_is_honest():
    random = np.random.default_rng(1)
    inside = sum(
        abs(np.subtract(*fitted_change(0.3 * random.standard_normal(50), np.full(50, 0.3)))) >= 0
        and abs(fitted_change(0.3 * random.standard_normal(50), np.full(50, 0.3))[0])
        <= fitted_change(np.zeros(50), np.full(50, 0.3))[1]
        for _ in range(2000)
    )
    # 68.3 % within one standard error, give or take three of its own.
    assert abs(inside / 2000 - 0.683) < 3 * math.sqrt(0.683 * 0.317 / 2000)


def test_timeout_per_run_and_in_total(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    class Tick(AbstractCallback):
        def on_step_start(self, step, log_data, driver):
            clock[0] += 1.0

    driver = QuadraticDriver()
    driver.run(50, callback=[Tick(), Timeout(per_run=5)], show_progress=False)
    assert driver.step_count == 5  # the step at which time was up is finished
    assert driver.stop_reason is StopReason.TIMED_OUT
    assert driver.stop_message == "stopped by Timeout: this run has taken 5.0 s of 5 s"
    total = Timeout(10)
    driver.run(7, callback=[Tick(), total], show_progress=False)
    assert driver.step_count == 12
    restored = Timeout(10)
    restored.load_state_dict(total.state_dict())
    driver.run(50, callback=[Tick(), restored], show_progress=False)
    assert driver.step_count == 15
    assert driver.stop_message == "stopped by Timeout: all runs took 10.0 s of 10 s"


@pytest.mark.parametrize("seconds", [0, -1])
def test_timeout_refuses_no_time(seconds):
    with pytest.raises(ValueError, match=f"total must be above 0, but {seconds} was given"):
        Timeout(seconds)
    with pytest.raises(ValueError, match="give Timeout a limit in seconds"):
        Timeout()


def test_and_waits_for_both_or_for_either():
    losses = [5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    early = lambda: EarlyStopping(patience=2)  # noqa: E731
    low = lambda: ConvergenceStopping(3.5, patience=0, smoothing_window=1)  # noqa: E731
    assert stopped_at(losses, low()) == 2
    assert stopped_at(losses, early()) == 7
    assert stopped_at(losses, early() & low()) == 7
    assert stopped_at(losses, early() | low()) == 2
    never = ConvergenceStopping(-9, patience=0)
    assert stopped_at(losses, never & low() | early()) == 7


def test_combinations_tell_their_reasons():
    driver = Series([1.0] * 9)
    both = EarlyStopping(patience=2) & ConvergenceStopping(2.0, patience=0, smoothing_window=1)
    driver.run(9, callback=both, show_progress=False)
    assert driver.stop_message.startswith(
        "stopped by (EarlyStopping & ConvergenceStopping): EarlyStopping: mean has not improved"
    )
    assert " and ConvergenceStopping: mean, smoothed to 1" in driver.stop_message


def test_a_combination_that_stopped_counts_anew():
    driver = Series([1.0] * 50)
    either = EarlyStopping(patience=3) | ConvergenceStopping(-5, patience=0)
    driver.run(20, callback=either, show_progress=False)
    driver.run(20, callback=either, show_progress=False)
    assert driver.step_count == 4 + 3


def test_only_conditions_combine():
    with pytest.raises(TypeError, match="unsupported operand"):
        EarlyStopping() & LambdaCallback()


def test_bad_settings():
    for make, match in [
        (lambda: EarlyStopping(mode="up"), "mode must be 'min' or 'max', but 'up' was given"),
        (lambda: EarlyStopping(patience=-1), "patience must be at least 0, but -1 was given"),
        (lambda: PlateauStopping(window=2), "window must be at least 3, but 2 was given"),
        (lambda: PlateauStopping(z=0), "z must be above 0"),
        (lambda: ConvergenceStopping(0, smoothing_window=0), "smoothing_window must be at least 1"),
        (lambda: InvalidLossStopping(patience=-1), "patience must be at least 0, but -1"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    with pytest.raises(TypeError, match="patience must be a number, but '3' was given"):
        EarlyStopping(patience="3")


@pytest.mark.parametrize(
    "make",
    [
        EarlyStopping,
        PlateauStopping,
        InvalidLossStopping,
        ReduceLROnPlateau,
        BestState,
        lambda monitor: ConvergenceStopping(1.0, monitor=monitor),
        lambda monitor: Checkpoint("ck", keep_best=(monitor, "min", 2)),
    ],
)
def test_a_monitor_is_a_text(make):
    with pytest.raises(
        TypeError, match="monitor.* must be the name of a quantity.*but 5 was given"
    ):
        make(5)
