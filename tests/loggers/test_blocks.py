"""What loggers make of blocks: rows gathered, and nothing lost."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ritz.callbacks import LambdaCallback, StopRun
from ritz.loggers import CSVLog, HDF5Log, JsonLog, RuntimeLog
from ritz.loggers.journal import Journal, read_journal
from ritz.loggers.plain_rows import PlainRows
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import Halving

ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    mean: float
    error: float


def test_rows_are_gathered_while_they_are_alike():
    rows = PlainRows()
    assert not rows.add(0, {"a": 1.0})
    rows.expect({"a": 1.0, "b": Pair(1.0, 2.0)})
    assert rows.add(1, {"a": 1.5, "b": Pair(2.0, math.nan)})
    assert rows.add(2, {"a": 2.5, "b": Pair(3.0, 4.0)})
    for other in (
        {"a": 1.0},
        {"a": 1, "b": Pair(1.0, 2.0)},
        {"a": 1.0, "b": Pair(1.0, None)},
        {"a": 1.0, "b": 2.0},
        {"b": Pair(1.0, 2.0), "a": 1.0},
        {},
    ):
        assert not rows.add(3, other)
    gathered = rows.take()
    assert gathered.steps.tolist() == [1, 2]
    assert gathered.columns[("a",)]["value"].tolist() == [1.5, 2.5]
    np.testing.assert_array_equal(gathered.columns[("b",)]["error"], [math.nan, 4.0])
    assert rows.take() is None


def test_whole_numbers_and_nested_ones_are_gathered_too():
    def row(k):
        return {"a": Pair(1.0, 0.5 * k), "n": k, "info": {"failed": k > 1, "deep": {"x": 0.1 * k}}}

    rows, memory = PlainRows(), RuntimeLog()
    rows.expect(row(0))
    memory.write(0, row(0))
    for k in (1, 2, 3):
        assert rows.add(k, row(k))
    for other in (
        {**row(4), "n": 4.0},
        {**row(4), "n": 2**60},
        {**row(4), "info": {"failed": True}},
        {**row(4), "info": 1.0},
        {**row(4), "info": {"failed": True, "deep": {"y": 1.0}}},
    ):
        assert not rows.add(4, other)
    memory.write_all(rows.take())
    assert memory.data["n"].values.tolist() == [0, 1, 2, 3]
    assert memory.data["n"].values.dtype.kind == "i"
    assert memory.data["info"]["failed"].values.tolist() == [False, False, True, True]
    assert memory.data["info"]["deep"]["x"].values.tolist() == [0.1 * k for k in range(4)]


def test_lines_of_rows_that_look_alike_are_those_of_any_row():
    given = [
        {"e": Pair(-1.0 / (k + 3), 1e-9 * k), "n": k, "info": {"x": 1e22 * k}} for k in range(6)
    ]
    given[3] = {**given[3], "e": Pair(math.nan, math.inf)}
    given.insert(2, {"n": 7, "more": 1.5})
    one, other = CSVLog("one"), CSVLog("other")
    with one.open(Path(), "run"), other.open(Path(), "run"):
        for step, row in enumerate(given):
            one.write(step, row)
            other._layout = None
            other.write(step, row)
    assert one._layout is not None
    assert Path("one.csv").read_bytes() == Path("other.csv").read_bytes()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_journal_gives_back_what_it_was_given(bad):
    path = Path("journal")
    log = JsonLog("run")
    log._journal = journal = Journal(path)
    log._rewritten = log._cost = math.inf  # no document
    given = [
        {"a": 0.1 * k, "b": Pair(1.0 * k, bad if k == 7 else 2.0), "d": {"n": k}} for k in range(10)
    ] + [{"a": 1.0, "text": "x", "c": 1 + 2j}]
    for step, row in enumerate(given):
        log.hold = step not in (3, 10)
        log.write(step, row)
    log = RuntimeLog()
    for step, row in read_journal(path):  # before it is closed
        log.write(step, row)
    journal.close()
    assert log.data["a"].values.tolist() == [row["a"] for row in given]
    np.testing.assert_array_equal(log.data["b"]["error"], [row["b"].error for row in given[:10]])
    assert log.data["c"].values.tolist() == [1 + 2j]
    assert log.data["d"]["n"].values.tolist() == list(range(10))
    assert len(path.read_bytes().splitlines()) < 11 or math.isnan(bad) or math.isinf(bad)


def test_all_loggers_have_all_rows_of_blocks():
    driver, memory = NoisyDriver(), RuntimeLog()
    driver._length._limit = 100
    kept = memory.data  # a reference that was taken before the run
    driver.run(70, out=[memory, JsonLog("j"), CSVLog("c"), HDF5Log("h")], show_progress=False)
    expected = kept["loss"]["mean"]
    assert len(expected) == 70
    read = RuntimeLog.deserialize("j.log").data
    np.testing.assert_array_equal(read["loss"]["mean"], expected)
    np.testing.assert_array_equal(
        HDF5Log("h", mode="append")._read_document(Path("h.h5")).data["loss"]["mean"], expected
    )
    lines = Path("c.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss.mean")
    assert [float(line.split(",")[column]) for line in lines[1:]] == expected.tolist()


def test_rows_before_a_failure_in_a_block_are_logged():
    def fail(step, log_data, driver):
        if step == 5:
            raise OSError("full")

    driver, log = NoisyDriver(), JsonLog("run")
    driver._length._limit = 100
    with pytest.raises(OSError, match="full"):
        driver.run(
            20,
            out=log,
            show_progress=False,
            callback=LambdaCallback(live=False, order=50, before_parameter_update=fail),
        )
    assert RuntimeLog.deserialize("run.log").data["loss"].iters.tolist() == list(range(6))


CRASH = """
import sys
sys.path.insert(0, ROOT)
import jax
jax.config.update("jax_enable_x64", True)
from ritz.callbacks import LambdaCallback
from ritz.loggers import JsonLog
from tests.driver.noisy import NoisyDriver
from tests.driver.tools import Halving
driver = NoisyDriver()
say = LambdaCallback(live=False, on_step_end=lambda step, row, d: step == 3000 and
                     print("ready", flush=True))
driver.run(10**7, out=JsonLog("run"), callback=say, show_progress=False)
"""


def test_a_kill_within_blocks_loses_no_block_that_was_over():
    process = subprocess.Popen(
        [sys.executable, "-c", CRASH.replace("ROOT", repr(str(ROOT)))], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline().strip() == b"ready"
        os.kill(process.pid, signal.SIGKILL)
    driver, log = NoisyDriver(), JsonLog("run", mode="append")
    recovered = log._read(Path("run.log")).data["loss"]
    steps = recovered.iters.tolist()
    assert steps == list(range(len(steps))) and len(steps) > 3000 - 1024
    reference = RuntimeLog()
    driver.run(len(steps), out=reference, show_progress=False)
    np.testing.assert_array_equal(recovered["mean"], reference.data["loss"]["mean"])


def test_a_log_whose_rows_were_dropped_begins_anew():
    """A run that was stopped before its first update writes the row of that step again."""
    driver, log, file = Halving(), RuntimeLog(), JsonLog("again", save_params=False)
    stop = LambdaCallback(before_parameter_update=raising_stop)
    for callback in (stop, None, stop, None):
        driver.run(1, out=[log, file], callback=callback, show_progress=False)
        steps = list(range(driver.step_count + (callback is stop)))
        for written in (log, file):
            assert written.data[driver.loss_name].iters.tolist() == steps


class Ends(JsonLog):
    """A logger with a hook of its own where its base class has nothing to do within blocks."""

    def __init__(self, prefix):
        super().__init__(prefix)
        self.ended = []

    def on_step_end(self, step, log_data, driver):
        super().on_step_end(step, log_data, driver)
        self.ended.append(step)


def test_hooks_that_a_subclass_adds_are_called_at_all_steps_of_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger, assigned, ended = Ends("a"), JsonLog("b"), []
    assigned.on_step_end = lambda step, log_data, driver: ended.append(step)
    NoisyDriver().run(9, out=[logger, assigned], show_progress=False)
    assert logger.ended == ended == list(range(9))
    blocks = RuntimeLog()
    NoisyDriver().run(9, out=[Ends("c"), blocks], show_progress=False)
    assert max(blocks.data["block"]["value"]) > 1


def raising_stop(step, log_data, driver):
    raise StopRun("at once")


class Named(NamedTuple):
    """Statistics whose logged names differ from their fields."""

    mean: float
    error: float

    def to_dict(self):
        return {"Mean": self.mean, "Sigma": self.error}


def test_gathered_rows_have_the_names_that_statistics_give_themselves():
    log = RuntimeLog()
    log.write(0, {"a": Named(1.0, 0.5), "b": 2.0})
    for step in (1, 2):
        log.write(step, {"a": Named(float(step), 0.5), "b": 2.0})
    assert log.data["a"]["Mean"].tolist() == [1.0, 1.0, 2.0]
    assert log.data["a"]["Sigma"].tolist() == [0.5] * 3
