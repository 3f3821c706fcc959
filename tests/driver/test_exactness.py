"""Whatever the length of blocks, runs are the same: hooks, rows, reasons and bits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ritz.callbacks import AbstractCallback, BestState, NormMonitor, ParameterEMA, StopRun
from ritz.driver import DeferredAccessError, StepRejectedError
from ritz.driver.callback import HOOKS, STEP_HOOKS
from ritz.loggers import RuntimeLog
from tests.driver.noisy import NoisyDriver, bits

STEPS = 20
LENGTHS = (1, 2, 7, 64, None)

steps = st.integers(0, STEPS)
actions = st.sampled_from(["stop", "fail", "exit", "reject", "reject", "peek", "double"])
events = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(HOOKS), steps, actions), max_size=5)
live = st.lists(
    st.one_of(st.just(frozenset()), st.frozensets(steps, max_size=6)), min_size=3, max_size=3
)
programs = st.fixed_dictionaries(
    {
        "events": events,
        "live": live,
        "runs": st.lists(st.integers(0, STEPS), min_size=1, max_size=3),
        "traced": st.booleans(),
        "speculate": st.just(True),
    }
)


class Scripted(AbstractCallback):
    """Notes every hook, and the state where it is live; acts once as its program says."""

    def __init__(self, order, events, live):
        self.callback_order = order
        self.events, self.live, self.diary = dict(events), live, []

    def is_live(self, step):
        return step in self.live

    def act(self, hook, step, driver, log_data=None):
        self.diary.append(
            (hook, step, driver.step_count, driver.step_attempt, dict(log_data or {}))
        )
        if hook in STEP_HOOKS and step in self.live:
            self.diary.append(bits(driver))
        action = self.events.pop((hook, step), None)
        match action:
            case "stop":
                raise StopRun(f"{hook} {step}")
            case "fail":
                raise ValueError(f"{hook} {step}")
            case "exit":
                raise SystemExit(f"{hook} {step}")
            case "peek" if driver.block is not None or step in self.live:
                self.diary.append(bits(driver))
            case "double" if step in self.live and hook == "on_compute_update_end":
                driver.update = jax.tree.map(lambda leaf: 2 * leaf, driver.update)
        return action == "reject"

    def on_run_start(self, step, driver):
        self.act("on_run_start", step, driver)

    def on_step_start(self, step, log_data, driver):
        self.act("on_step_start", step, driver, log_data)

    def on_compute_update_start(self, step, log_data, driver):
        self.act("on_compute_update_start", step, driver, log_data)

    def on_compute_update_end(self, step, log_data, driver):
        return self.act("on_compute_update_end", step, driver, log_data)

    def before_parameter_update(self, step, log_data, driver):
        self.act("before_parameter_update", step, driver, log_data)

    def on_step_end(self, step, log_data, driver):
        self.act("on_step_end", step, driver, log_data)

    def on_run_end(self, step, driver):
        self.diary.append(bits(driver))
        self.act("on_run_end", step, driver)

    def on_run_error(self, step, error, driver):
        self.diary.append(repr(error))
        self.act("on_run_error", step, driver)


def plain(value):
    """Comparable values, without times and lengths of blocks."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("wallclock", "block")}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [plain(v) for v in value]
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, float | complex):  # bit by bit, so that NaN equals NaN
        return [value.real.hex(), value.imag.hex()]
    return value.tobytes() if isinstance(value, np.ndarray | jax.Array) else value


def outcome(program, max_block, runs=None, make=NoisyDriver):
    driver, log = make(), RuntimeLog()
    driver._length._limit = 1000  # long blocks at once
    callbacks = [
        Scripted(order, {(h, s): a for who, h, s, a in program["events"] if who == place}, where)
        for place, (order, where) in enumerate(zip((-5, 5, 50), program["live"], strict=True))
    ]
    traced = [ParameterEMA(0.8), BestState(), NormMonitor(3)] if program["traced"] else []
    ends = []
    for n_iter in runs or program["runs"]:
        error = None
        try:
            driver.run(
                n_iter,
                out=log,
                callback=[*callbacks, *traced],
                show_progress=False,
                max_block=max_block,
                speculate=program["speculate"],
            )
        except (ValueError, SystemExit, StepRejectedError, DeferredAccessError) as caught:
            # A deferred access names the block, whose length may differ.
            error = type(caught) if isinstance(caught, DeferredAccessError) else repr(caught)
            driver.run_state.stop_message = ""
        ends.append((error, driver.stop_reason, driver.stop_message, driver.step_count))
    diaries = [plain([x for x in c.diary if "DeferredAccess" not in x]) for c in callbacks]
    rows = {
        k: (h.iters.tolist(), plain(list(h.to_dict().values())))
        for k, h in flat(log.data)
        if k not in ("wallclock", "block")
    }
    state = [plain(jax.tree.leaves(c.state_dict())) for c in traced]
    return {"ends": ends, "diaries": diaries, "rows": rows, "bits": bits(driver), "traced": state}


def flat(data, prefix=""):
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def assert_exact(program, make=NoisyDriver):
    reference = outcome(program, 1, make=make)
    for max_block in LENGTHS[1:]:
        found = outcome(program, max_block, make=make)
        for what, value in reference.items():
            assert found[what] == value, f"max_block={max_block}: {what}"
    runs = program["runs"]
    if all(end[0] is None and end[1].name == "FINISHED" for end in reference["ends"]):
        whole = outcome(program, None, [sum(runs)], make)
        assert whole["bits"] == reference["bits"]
        assert whole["rows"] == reference["rows"]
        assert whole["traced"] == reference["traced"]


@pytest.mark.bits
@settings(max_examples=50, deadline=None)
@given(programs)
def test_blocks_change_nothing(program):
    assert_exact(program)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(programs)
@pytest.mark.timeout(1200)
def test_blocks_change_nothing_in_many_programs(program):
    assert_exact(program)
