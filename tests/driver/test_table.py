"""The table of what happens when a hook raises, in full, against literal expectations.

The raising callback has order 0, a logger order 10 and the observer order 50.
"""

import pytest

from ritz.callbacks import StopRun
from ritz.driver import StopReason
from ritz.loggers import RuntimeLog
from tests.driver.tools import Diary, Halving, text

STEP0 = "RS SS CS CE BU SE"

# hook: (steps counted, parameter, logged steps, hooks of the observer)
STOP = {
    "on_run_start": (0, 1.0, [], "RS RE"),
    "on_step_start": (1, 0.5, [0], f"{STEP0} SS RE"),
    "on_compute_update_start": (1, 0.5, [0], f"{STEP0} SS CS RE"),
    "on_compute_update_end": (1, 0.5, [0], f"{STEP0} SS CS CE RE"),
    "before_parameter_update": (1, 0.5, [0, 1], f"{STEP0} SS CS CE BU RE"),
    "on_step_end": (2, 0.25, [0, 1], f"{STEP0} SS CS CE BU SE RE"),
    "on_run_end": (3, 0.125, [0, 1, 2], f"{STEP0} SS CS CE BU SE SS CS CE BU SE RE"),
}
ERROR = {
    "on_run_start": (0, 1.0, [], ""),
    "on_step_start": (1, 0.5, [0], f"{STEP0} ER"),
    "on_compute_update_start": (1, 0.5, [0], f"{STEP0} SS ER"),
    "on_compute_update_end": (1, 0.5, [0], f"{STEP0} SS CS ER"),
    "before_parameter_update": (1, 0.5, [0], f"{STEP0} SS CS CE ER"),
    "on_step_end": (2, 0.25, [0, 1], f"{STEP0} SS CS CE BU ER"),
    "on_run_end": (3, 0.125, [0, 1, 2], f"{STEP0} SS CS CE BU SE SS CS CE BU SE RE"),
}


def run(hook, error):
    driver, log = Halving(), RuntimeLog()
    raising, observer = Diary(0, hook, error), Diary(50)
    result = (driver, log, raising, observer)
    try:
        driver.run(3, out=log, callback=[observer, raising], show_progress=False)
    except BaseException as raised:
        return (*result, raised)
    return (*result, None)


def outcome(driver, log, observer):
    steps = list(log.data["loss"].iters) if "loss" in log.data else []
    return driver.step_count, float(driver.parameters), steps, text(observer.diary)


@pytest.mark.parametrize("hook", STOP)
def test_stop_run(hook):
    driver, log, raising, observer, raised = run(hook, StopRun("enough"))
    assert raised is None
    assert outcome(driver, log, observer) == STOP[hook]
    assert raising.diary.count("RE") == 1
    assert "ER" not in raising.diary + observer.diary
    if hook == "on_run_end":
        assert driver.stop_reason is StopReason.FINISHED
    else:
        assert driver.stop_reason is StopReason.STOPPED
        assert driver.stop_message == "stopped by Diary: enough"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hook", ERROR)
def test_any_other_exception(hook, error):
    given = error("broken")
    driver, log, raising, observer, raised = run(hook, given)
    assert raised is given
    assert outcome(driver, log, observer) == ERROR[hook]
    assert raising.diary.count("ER") == (0 if hook == "on_run_end" else 1)
    assert raising.diary.count("RE") == (1 if hook == "on_run_end" else 0)
    assert driver.stop_reason is StopReason.FAILED


class FailsFirst(Diary):
    """Raises ValueError at step 1, and something else again in on_run_error."""

    def on_step_start(self, step, log_data, driver):
        super().on_step_start(step, log_data, driver)
        if step == 1:
            raise ValueError("the first error")


@pytest.mark.parametrize("error", [StopRun, ValueError, KeyboardInterrupt, SystemExit])
def test_on_run_error_never_replaces_the_first_error(error):
    driver, log = Halving(), RuntimeLog()
    raising, observer = FailsFirst(0, "on_run_error", error("the second")), Diary(50)
    with pytest.raises(ValueError, match="the first error") as caught:
        driver.run(3, out=log, callback=[raising, observer], show_progress=False)
    notes = getattr(caught.value, "__notes__", [])
    if error is StopRun:
        assert notes == []
    else:
        assert notes == [f"A callback failed in on_run_error: {error('the second')!r}"]
    assert outcome(driver, log, observer) == (1, 0.5, [0], f"{STEP0} ER")


def test_two_errors_in_on_run_end():
    driver = Halving()
    first, second = (
        Diary(1, "on_run_end", ValueError("one")),
        Diary(2, "on_run_end", KeyError("two")),
    )
    last = Diary(3)
    with pytest.raises(ValueError, match="one") as caught:
        driver.run(1, callback=[first, second, last], show_progress=False)
    assert caught.value.__notes__ == ["Another callback failed in on_run_end: KeyError('two')"]
    assert last.diary[-1] == "RE"


def test_an_error_in_on_run_end_after_a_stop_is_raised():
    driver = Halving()
    stopper = Diary(0, "on_step_start", StopRun("enough"))
    failing = Diary(1, "on_run_end", ValueError("disk full"))
    with pytest.raises(ValueError, match="disk full"):
        driver.run(3, callback=[stopper, failing], show_progress=False)
    assert driver.step_count == 1


def test_on_run_error_reaches_only_those_that_were_started():
    driver = Halving()
    before = Diary(-1)
    failing = Diary(0, "on_run_start", ValueError("no licence"))
    after = Diary(1)
    with pytest.raises(ValueError, match="no licence"):
        driver.run(3, callback=[before, failing, after], show_progress=False)
    assert (before.diary, failing.diary, after.diary) == (["RS", "ER"], ["RS", "ER"], [])


def test_an_error_wins_over_a_stop_in_the_same_hook():
    driver = Halving()
    stopper = Diary(0, "on_step_end", StopRun("enough"))
    failing = Diary(1, "on_step_end", ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        driver.run(3, callback=[stopper, failing], show_progress=False)
    assert (driver.step_count, float(driver.parameters)) == (2, 0.25)
    assert stopper.diary[-1] == failing.diary[-1] == "ER"


def test_several_stops_at_one_step_are_joined():
    driver = Halving()
    stops = [Diary(i, "on_step_end", StopRun(f"reason {i}"), name=f"d{i}") for i in range(2)]
    driver.run(3, callback=stops, show_progress=False)
    assert driver.stop_message == "stopped by Diary:d0: reason 0; stopped by Diary:d1: reason 1"
