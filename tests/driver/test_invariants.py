"""The invariants of the loop on random programs of callbacks that stop, reject and fail."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from ritz.callbacks import StopRun
from ritz.driver import StepRejectedError
from ritz.driver.callback import HOOKS, STEP_HOOKS
from ritz.loggers import RuntimeLog
from tests.driver.tools import Diary, Halving

ACTIONS = {"stop": StopRun("stop"), "fail": ValueError("fail"), "exit": SystemExit("exit")}

events = st.lists(
    st.tuples(
        st.integers(0, 2),  # which callback
        st.sampled_from([*HOOKS, "on_compute_update_end"]),
        st.integers(0, 4),  # at which step
        st.sampled_from([*ACTIONS, "reject"]),
    ),
    max_size=4,
)


class Scripted(Diary):
    """Does what the program says for its hook and step, once."""

    def __init__(self, order, program):
        super().__init__(order)
        self.program = dict(program)

    def note(self, hook, step):
        self.diary.append(hook)
        action = self.program.pop((hook, step), None)
        if action in ACTIONS:
            raise ACTIONS[action]
        return action == "reject"

    def on_compute_update_end(self, step, log_data, driver):
        return self.note("on_compute_update_end", step)


class Counting(Halving):
    updates = 0

    def update_parameters(self, update):
        super().update_parameters(update)
        self.updates += 1


@settings(max_examples=200, deadline=None)
@given(events, st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_invariants(program, runs):
    callbacks = [
        Scripted(order, {(hook, step): act for who, hook, step, act in program if who == place})
        for place, order in enumerate((-5, 5, 50))
    ]
    driver, log = Counting(), RuntimeLog()
    for n_iter in runs:
        for callback in callbacks:
            callback.diary.clear()
        with contextlib.suppress(ValueError, SystemExit, StepRejectedError):
            driver.run(n_iter, out=log, callback=callbacks, show_progress=False)
        assert driver.step_count == driver.updates
        assert float(driver.parameters) == 0.5**driver.updates
        for callback in callbacks:
            diary = callback.diary
            begun = diary[:1] == ["on_run_start"]
            assert diary.count("on_run_end") + diary.count("on_run_error") == int(begun)
            assert not begun or diary[-1] in ("on_run_end", "on_run_error")
            assert begun or not diary
        if "loss" in log.data:
            steps, losses = log.data["loss"].iters.tolist(), log.data["loss"].values
            # At most one row a step, in order, each with the loss before its update.
            assert steps == list(range(len(steps)))
            assert len(steps) in (driver.step_count, driver.step_count + 1)
            assert losses.tolist() == [0.5**step for step in steps]


@given(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=5))
@settings(max_examples=50, deadline=None)
def test_runs_may_be_split_anywhere(first, rest):
    whole, split = Halving(), Halving()
    whole_diary, split_diary = Diary(), Diary()
    whole.run(first + sum(rest), callback=whole_diary, show_progress=False)
    for n_iter in (first, *rest):
        split.run(n_iter, callback=split_diary, show_progress=False)
    assert whole.step_count == split.step_count
    assert float(whole.parameters) == float(split.parameters)
    steps = [code for code in split_diary.diary if code not in ("RS", "RE")]
    assert steps == [code for code in whole_diary.diary if code not in ("RS", "RE")]
    assert len(steps) == len(STEP_HOOKS) * whole.step_count
