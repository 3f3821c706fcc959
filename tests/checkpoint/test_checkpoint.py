import json
import logging
import math
import time
import types
from pathlib import Path

import numpy as np
import pytest

from ritz.callbacks import (
    AbstractCallback,
    BestState,
    EarlyStopping,
    LambdaCallback,
    ParameterEMA,
    PlateauStopping,
    Timeout,
)
from ritz.checkpoint import Checkpoint, CheckpointError, load
from ritz.driver import AbstractDriver, StopReason
from ritz.loggers import CSVLog, HDF5Log, JsonLog, RuntimeLog
from ritz.plotting import read_log
from ritz.testing import QuadraticDriver
from tests.driver.fragile import FragileDriver
from tests.driver.noisy import NoisyDriver, bits
from tests.driver.tools import Diary, Halving, LiveAt, at, raising, text


def names(folder="ck"):
    return sorted(p.name for p in Path(folder).iterdir() if p.name[0].isdigit())


def go(driver, n_iter, *callbacks, out=(), **options):
    arguments = {"show_progress": False, "resume": True, **options}
    driver.run(n_iter, out=out, callback=list(callbacks), **arguments)
    return driver


def rows(log):
    """The rows of a log without what is measured by the clock."""
    data = log.data if isinstance(log, RuntimeLog) else read_log(log)
    return {
        name: {field: repr(column.tolist()) for field, column in history.to_dict().items()}
        for name, history in data.items()
        if name not in ("wallclock", "block") and not isinstance(history, dict | list)
    }


@pytest.mark.medium
def test_nothing_depends_on_it():
    plain = go(NoisyDriver(), 60, resume=False)
    saved = go(NoisyDriver(), 60, Checkpoint("ck", every_steps=7))
    timed = go(NoisyDriver(), 60, Checkpoint("timed", every_seconds=0))
    in_place = go(NoisyDriver(), 60, Checkpoint("in place", every_steps=7), speculate=False)
    single = go(NoisyDriver(), 60, Checkpoint("single", every_steps=7), max_block=1)
    assert bits(plain) == bits(saved) == bits(timed) == bits(in_place) == bits(single)
    resumed = go(NoisyDriver(), 70, Checkpoint("in place", every_steps=7), speculate=False)
    assert bits(resumed) == bits(go(NoisyDriver(), 70, resume=False))


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize("make", [NoisyDriver, lambda: QuadraticDriver(noise=0.1), Halving])
@pytest.mark.parametrize("crash", [1, 13, 19])
def test_a_resumed_run_is_the_uninterrupted_one(make, crash):
    def callbacks(folder, crash=-1):
        return [
            BestState(),
            ParameterEMA(),
            PlateauStopping("loss", patience=99, window=5),
            LiveAt(lambda step: step % 5 == 2),
            Checkpoint(f"{folder}/ck", every_steps=6),
            at(crash, raising(ArithmeticError()), "on_step_start"),
        ]

    def logs(folder):
        return [
            JsonLog(f"{folder}/a", save_params=False),
            CSVLog(f"{folder}/a", "write"),
            HDF5Log(f"{folder}/a"),
            RuntimeLog(),
        ]

    ran, memory = callbacks("whole"), logs("whole")
    whole = go(make(), 20, *ran, out=memory)
    with pytest.raises(ArithmeticError):
        go(make(), 20, *callbacks("other", crash), out=logs("other"))
    resumed_callbacks, resumed_memory = callbacks("other"), logs("other")
    resumed = go(make(), 20, *resumed_callbacks, out=resumed_memory)
    assert resumed.step_count == 20
    assert np.array_equal(resumed.parameters, whole.parameters)
    assert rows(resumed_memory[-1]) == rows(memory[-1])
    for log in ("a.log", "a.csv", "a.h5"):
        assert rows(f"whole/{log}") == rows(f"other/{log}")
    for one, other in zip(ran[:3], resumed_callbacks[:3], strict=True):
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_target_is_kept_and_can_be_raised():
    def first(n_iter, error_at=None):
        bad = at(error_at, raising(ArithmeticError()), "on_step_start")
        return go(NoisyDriver(), n_iter, Checkpoint("ck", every_steps=5), bad)

    with pytest.raises(ArithmeticError):
        first(30, error_at=12)
    assert first(30).step_count == 30
    assert first(30).step_count == 30  # nothing is left to do
    assert first(40).step_count == 40
    assert bits(first(40)) == bits(go(NoisyDriver(), 40, resume=False))
    assert first(10).step_count == 40  # less was asked for than was done


def test_two_runs_of_one_driver_share_a_folder():
    driver, saving = NoisyDriver(), Checkpoint("ck", every_steps=5, max_to_keep=None)
    driver.run(7, callback=saving, show_progress=False)
    driver.run(7, callback=saving, show_progress=False)
    assert driver.step_count == 14 and names()[-1] == "00000014-end"
    with pytest.raises(CheckpointError, match=r"holds checkpoints of another run.*step 14.*resume"):
        NoisyDriver().run(7, out=JsonLog("log"), callback=Checkpoint("ck"), show_progress=False)
    assert not Path("log.log").exists()  # refused before anything was opened


def test_a_second_run_is_resumed_to_its_own_target():
    def script(crash=-1):
        driver, saving = NoisyDriver(), Checkpoint("ck", every_steps=3)
        bad = at(crash, raising(ArithmeticError()), "on_step_start")
        go(driver, 7, saving, bad)
        driver.run(7, callback=[saving, bad], resume=driver.step_count > 7, show_progress=False)
        return driver

    with pytest.raises(ArithmeticError):
        script(crash=11)
    resumed = script()
    assert resumed.step_count == 14
    assert bits(resumed) == bits(go(NoisyDriver(), 14, resume=False))


def test_a_path_demands_a_checkpoint():
    go(NoisyDriver(), 20, Checkpoint("ck", every_steps=10, max_to_keep=None))
    with pytest.raises(CheckpointError, match="there is no checkpoint in .*nothing"):
        go(NoisyDriver(), 20, resume="nothing")
    with pytest.raises(ValueError, match="resume=True needs to know where"):
        go(NoisyDriver(), 20)
    with pytest.raises(TypeError, match="resume takes True, False or a path, but 3 was given"):
        go(NoisyDriver(), 20, resume=3)
    whole = go(NoisyDriver(), 30, resume=False)
    assert bits(go(NoisyDriver(), 30, resume="ck")) == bits(whole)
    assert bits(go(NoisyDriver(), 30, resume=Path("ck/00000010"))) == bits(whole)
    # On from an older one in the same folder: the newer ones are put aside, not lost.
    branch = go(NoisyDriver(), 30, Checkpoint("ck", every_steps=10), resume="ck/00000010")
    assert bits(branch) == bits(whole)
    assert sorted(p.name for p in Path("ck/set_aside").iterdir()) == ["00000020-end"]


def test_a_stopped_run_stays_stopped():
    def run(n_iter=50):
        driver, diary = NoisyDriver(), Deferred()
        stopper = EarlyStopping("mean", patience=3)
        go(driver, n_iter, stopper, diary, Checkpoint("ck", every_steps=10), out=CSVLog("log"))
        return driver, diary

    first, _ = run()
    assert first.stop_reason is StopReason.STOPPED
    content = Path("log.csv").read_bytes()
    again, diary = run()
    assert (again.step_count, again.stop_reason) == (first.step_count, StopReason.STOPPED)
    assert again.stop_message == first.stop_message
    assert text(diary.diary) == "RS RE" and Path("log.csv").read_bytes() == content
    again.run(5, show_progress=False)  # asked for
    assert again.step_count == first.step_count + 5


class Deferred(Diary):
    decides = False

    def is_live(self, step):
        return False


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize("live", [True, False])
def test_a_run_that_timed_out_goes_on_exactly(live):
    whole_log = RuntimeLog()
    window = lambda: PlateauStopping("mean", patience=999, window=6)  # noqa: E731
    observed = window()
    whole = go(NoisyDriver(), 30, observed, LiveAt(lambda _: live), out=whole_log, resume=False)
    log, steps = RuntimeLog(), []
    for _ in range(40):
        driver, log, seen = NoisyDriver(), RuntimeLog(), window()
        limit = Timeout(per_run=1e-9)
        go(driver, 30, seen, limit, LiveAt(lambda _: live), Checkpoint("ck"), out=log)
        steps.append(driver.step_count)
    assert steps[:31] == [*range(1, 31), 30]
    assert bits(driver) == bits(whole) and rows(log) == rows(whole_log)
    assert seen._values == observed._values


def test_best_state_at_the_end_does_not_touch_the_checkpoint():
    def run(n_iter, resume=True):
        best = BestState(restore=True)
        return go(NoisyDriver(), n_iter, best, Checkpoint("ck"), resume=resume), best

    half, _ = run(15)
    resumed, best = run(30)
    whole = go(NoisyDriver(), 30, BestState(restore=True), resume=False)
    assert bits(resumed) == bits(whole)
    assert np.array_equal(half.parameters, whole.parameters) or best.best_step is not None


def test_invalid_states_are_set_apart(caplog):
    class Broken(Halving):
        def compute_loss_and_update(self):
            loss, update = super().compute_loss_and_update()
            return (loss if self.step_count < 5 else math.nan), update

    go(Broken(), 10, Checkpoint("ck", every_steps=2, max_to_keep=None))
    # The loss of step 5 says that the fifth update was bad: the state before it is saved.
    assert names() == ["00000001", "00000002", "00000004", "00000005"]
    assert names("ck/failed") == ["00000005"]
    assert "no run should go on from this state; saved for inspection only" in caplog.text
    resumed = Halving()
    assert load("ck", resumed) == 5 and resumed.parameters == 0.5**4
    again = go(Broken(), 10, Checkpoint("ck"))
    assert again.stop_reason is StopReason.DIVERGED and again.step_count == 5

    class Exploding(Halving):
        def update_parameters(self, update):
            self.parameters = np.array(np.inf if self.step_count == 3 else 1.0)

    go(Exploding(), 4, Checkpoint("inf", every_steps=2))
    assert names("inf") == ["00000001", "00000002", "00000003"]
    assert names("inf/failed") == ["00000003"]


class Leaping(Halving):
    """The loss is finite, and after one update larger than could be."""

    def __init__(self, at, value=1e9):
        super().__init__()
        self.at, self.value = at, value

    def update_parameters(self, update):
        super().update_parameters(update)
        if self.step_count == self.at:
            self.parameters = np.array(self.value)


@pytest.mark.parametrize("end", [10, 5])
def test_a_state_counts_as_good_once_the_next_loss_is_plausible(end, caplog):
    go(Leaping(4), end, Checkpoint("ck", every_steps=5, max_to_keep=None))
    # Of the last state the loss is computed for that; drivers by hand cannot do so.
    unknown = ["00000005-end"] if end == 5 else []
    assert names() == ["00000001", *unknown]
    assert ("saved for inspection only" in caplog.text) == (end == 10)


@pytest.mark.parametrize("live", [False, True])
def test_a_run_whose_last_state_is_bad_did_not_finish(live):
    look = LambdaCallback(on_step_end=lambda step, log_data, driver: None, live=live)
    driver = FragileDriver(breaks="loss", at=5)
    go(driver, 5, look, Checkpoint("ck", every_steps=4))
    assert driver.stop_reason is StopReason.DIVERGED and "at step 5 (nan)" in driver.stop_message
    assert names() == ["00000001", "00000004", "00000005"] and names("ck/failed") == ["00000005"]
    good = FragileDriver()
    good.run(4, show_progress=False)
    assert np.array_equal(driver.parameters, good.parameters)


def test_a_state_that_cannot_be_saved_is_known_at_the_first_step():
    class Odd(AbstractCallback):
        state_fields = ("handle",)
        handle = print

    with pytest.raises(TypeError, match=r"callbacks.Odd.handle is .* which a checkpoint cannot"):
        go(Halving(), 5, Odd(), Checkpoint("ck"))
    Path("file").write_text("")
    with pytest.raises(CheckpointError, match="the folder .*file/ck cannot be made"):
        go(Halving(), 5, Checkpoint("file/ck"))


def test_an_error_saves_nothing_more():
    failing = at(7, raising(ArithmeticError()), "on_step_end", order=50)
    with pytest.raises(ArithmeticError):
        go(NoisyDriver(), 20, failing, Checkpoint("ck", every_steps=4))
    assert names() == ["00000001", "00000004"]  # 8 is due, but others have not seen step 7 end


def test_the_configuration_and_versions_are_told():
    go(Halving(), 2, Checkpoint("ck", configuration={"seed": 3}))
    body = json.loads(Path("ck/00000002-end/manifest/metadata").read_text())["body"]
    assert body["configuration"] == {"seed": 3} and "jax" in body["versions"]
    assert body["ended"] == {"reason": "FINISHED", "message": "finished all steps"}
    assert body["loss"]["mean"] == 0.5


def test_other_software_is_noted(monkeypatch, caplog):
    go(Halving(), 2, Checkpoint("ck"))
    from ritz.checkpoint import contents, resume

    other = {**contents.versions(), "jax": "0.1"}
    monkeypatch.setattr(resume, "versions", lambda: other)
    go(Halving(), 3, Checkpoint("ck"))
    assert "so bits may differ: jax was" in caplog.text


def test_wallclock_counts_the_time_of_both_runs():
    class Slow(Halving):
        def reset_step(self):
            time.sleep(0.05)

    log = RuntimeLog()
    go(Slow(), 4, Checkpoint("ck"), out=CSVLog("log"))
    go(Slow(), 8, Checkpoint("ck"), out=log)
    clock = log.data["wallclock"].values
    assert clock[0] >= 0.15 and np.all(np.diff(clock) > 0.04)
    everything = read_log("log.csv")["wallclock"].values
    assert len(everything) == 4


def test_a_driver_may_hold_any_containers():
    class Nested(AbstractDriver):
        def __init__(self):
            tree = {"a": (np.ones(2), [np.float32(3)]), "1": np.zeros((0, 2))}
            super().__init__(types.SimpleNamespace(parameters=tree))

        def reset_step(self):
            pass

        def compute_loss_and_update(self):
            return 1.0, None

        def update_parameters(self, update):
            first, rest = self.parameters["a"]
            self.parameters = {**self.parameters, "a": (first * 2, rest)}

    go(Nested(), 3, Checkpoint("ck"))
    resumed = go(Nested(), 3, Checkpoint("ck"))
    assert resumed.parameters["a"][0].tolist() == [8, 8]
    assert resumed.parameters["1"].shape == (0, 2)


def test_the_log_says_what_happens(caplog):
    caplog.set_level(logging.INFO)
    go(Halving(), 2, Checkpoint("ck"))
    assert "There is no checkpoint yet; the run begins at step 0." in caplog.text
    go(Halving(), 4, Checkpoint("ck"))
    assert "Going on from" in caplog.text and "00000002-end" in caplog.text
