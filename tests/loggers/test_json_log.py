import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import orjson
import pytest

from ritz.callbacks import LambdaCallback
from ritz.loggers import (
    CSVLog,
    HDF5Log,
    JsonLog,
)
from ritz.plotting import read_log
from ritz.testing import QuadraticDriver
from tests.loggers.rows import write


def test_json_log_layout_is_netkets(tmp_path):
    write(JsonLog("sub/run"), range(3))
    document = json.loads((tmp_path / "sub" / "run.log").read_text())
    assert document["Energy"]["iters"] == [0, 1, 2]
    assert document["Energy"]["Mean"] == {"real": [-1.5] * 3, "imag": [0.0, 0.25, 0.5]}
    assert document["Energy"]["R_hat"] == [None] * 3
    assert list(document["Energy"]) == ["iters", "Mean", "Variance", "Sigma", "R_hat", "TauCorr"]
    assert document["acceptance"] == {"iters": [0, 1, 2], "value": [0.5] * 3}
    assert document["info"]["fallback"]["value"] == [False, True, False]
    assert document["lst"][1] == {"iters": [0, 1, 2], "value": [2.5] * 3}
    assert document["inf"]["value"] == [None] * 3
    assert os.listdir("sub") == ["run.log"]


def test_json_log_keeps_old_rows_in_append_mode():
    write(JsonLog("run"), range(3))
    log = write(JsonLog("run", mode="append"), range(2, 4), initial=2)
    assert log.data["acceptance"].iters.tolist() == [0, 1, 2, 3]
    assert read_log("run.log")["acceptance"].iters.tolist() == [0, 1, 2, 3]
    log = write(JsonLog("run", mode="write"), range(2, 4), initial=2)
    assert log.data["acceptance"].iters.tolist() == [2, 3]


@pytest.mark.parametrize("kind", [JsonLog, HDF5Log])
def test_modes(kind):
    for mode in ("write", "append", "fail", "w", "a", "x"):
        kind("new", mode)
    write(kind("run"), range(1))
    for mode in ("fail", "x"):
        with pytest.raises(ValueError, match="exist already and mode is 'fail'; remove"):
            kind("run", mode)
    with pytest.raises(ValueError, match="mode must be one of 'write', 'append', 'fail'"):
        kind("run", "read")
    log = kind("other", "x")
    write(log, range(2))
    write(log, range(2, 3), initial=2)  # a second run of one logger goes on
    assert log.data["acceptance"].iters.tolist() == [0, 1, 2]


def test_json_log_goes_on_in_write_mode_within_one_object():
    log, driver = JsonLog("run"), QuadraticDriver()
    driver.run(2, out=log, show_progress=False)
    driver.run(2, out=log, show_progress=False)
    assert read_log("run.log")["loss"].iters.tolist() == [0, 1, 2, 3]


def test_prefixes_may_hold_dots():
    driver = QuadraticDriver()
    driver.run(1, out=JsonLog("h1.05"), show_progress=False)
    assert sorted(os.listdir()) == ["h1.05.log", "h1.05.mpack"]


def test_without_flax_rows_are_logged_and_parameters_are_not(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "flax", None)
    QuadraticDriver().run(3, out="run", show_progress=False)
    assert read_log("run.log")["loss"].iters.tolist() == [0, 1, 2]
    assert os.listdir() == ["run.log"]
    assert caplog.text.count("saves no parameters") == 1 and "Install flax" in caplog.text


def test_the_log_is_closed_when_the_last_parameters_cannot_be_saved(monkeypatch):
    log = JsonLog("run", save_params_every=100)
    driver = QuadraticDriver()

    def full(step, driver):
        def fail(path, content):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ritz.loggers.json_log.atomic_write", fail)

    with pytest.raises(OSError, match="No space left"):
        driver.run(2, out=log, callback=LambdaCallback(on_run_end=full), show_progress=False)
    assert log._opened is None and log._journal is None
    assert read_log("run.log")["loss"].iters.tolist() == [0, 1]


def test_parameters_beside_the_log(monkeypatch):
    from flax import serialization

    def saved():
        tree = serialization.msgpack_restore(Path("run.mpack").read_bytes())
        return tree["params"].tolist()

    driver = QuadraticDriver()
    seen = []
    look = LambdaCallback(order=50, on_step_end=lambda *_: seen.append(saved()))
    monkeypatch.setattr(JsonLog, "max_cost", math.inf, raising=False)
    log = JsonLog("run", save_params_every=2, autoflush_cost=math.inf)
    driver.run(3, out=log, callback=look, show_progress=False)
    assert seen == [[0.5, -0.5], [0.5, -0.5], [0.125, -0.125]]  # those after steps 0 and 2
    assert saved() == [0.125, -0.125]  # the last ones
    driver.run(1, out=JsonLog("none", save_params=False), show_progress=False)
    assert not Path("none.mpack").exists()


CRASH = """
import sys, types
from pathlib import Path
from ritz.loggers import CSVLog, HDF5Log, JsonLog
logs = [JsonLog("run", write_every=7, autoflush_cost=0.5),
        HDF5Log("run", write_every=7, max_cost=0.5), CSVLog("run.csv")]
contexts = [log.open(Path("."), "run", 0) for log in logs]
for c in contexts:
    c.__enter__()
for step in range(10**9):
    for log in logs:
        log.write(step, {"a": step * 0.1, "b": {"c": complex(step, 1)}, "v": [1.0, float("inf")]})
    if step == 30:
        print("ready", flush=True)
"""


DELAYS = [0.0, 0.21, 0.47] + [
    pytest.param(round(0.037 * k, 3), marks=pytest.mark.slow) for k in range(1, 31)
]


@pytest.mark.parametrize("delay", DELAYS)
def test_a_kill_loses_no_row(delay, tmp_path):
    import time

    process = subprocess.Popen([sys.executable, "-c", CRASH], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # What stands there can be read as it is.
    for data in (read_log("run.log"), read_log("run.h5"), read_log("run.csv")):
        if data:
            assert data["a"].iters.tolist() == list(range(len(data["a"])))
    with h5py.File("run.h5", "r") as file:
        assert "data" in file
    # Opened again, all rows are there, up to the one that was being written.
    counts = []
    for kind in (JsonLog, HDF5Log):
        log = kind("run", mode="append")
        with log.open(Path("."), "run", 10**9):
            a = log.data["a"]
            assert a.iters.tolist() == list(range(len(a)))
            np.testing.assert_array_equal(a.values, np.arange(len(a)) * 0.1)
            np.testing.assert_array_equal(log.data["b/c"].values, np.arange(len(a)) + 1j)
            counts.append(len(a))
    with CSVLog("run.csv").open(Path("."), "run", 10**9):
        pass
    counts.append(len(read_log("run.csv")["a"]))
    assert min(counts) > 30 and max(counts) - min(counts) <= 1
    # And a resumed run drops what it writes again.
    log = JsonLog("run", mode="append")
    with log.open(Path("."), "run", 20):
        log.write(20, {"a": -1.0})
    assert read_log("run.log")["a"].values[-2:].tolist() == [19 * 0.1, -1.0]


def test_a_journal_line_that_was_cut_off_is_left_out():
    write(JsonLog("run"), range(2))
    lines = [
        orjson.dumps({"step": s, "row": {"a": {"__fields__": {"value": 1.0}}}}) for s in (1, 2, 3)
    ]
    Path("run.log.journal").write_bytes(b"\n".join(lines)[:-5])
    log = JsonLog("run", mode="append")
    with log.open(Path("."), "run", 9):
        assert log.data["acceptance"].iters.tolist() == [0, 1]
        assert log.data["a"].iters.tolist() == [2]  # 1 was in the document, 3 is torn


def test_documents_are_rewritten_rarely_when_that_is_dear(monkeypatch):
    log = JsonLog("run", write_every=10)
    calls = []
    rewrite = JsonLog._write_document

    def slow(self, path):
        import time

        calls.append(len(self.data.get("acceptance", ())))
        time.sleep(0.02)
        rewrite(self, path)

    monkeypatch.setattr(JsonLog, "_write_document", slow)
    write(log, range(100))
    assert len(calls) <= 4  # on opening and closing, and hardly in between


@pytest.mark.parametrize("kind", [JsonLog, HDF5Log])
def test_what_a_log_cannot_hold_is_named(kind):
    def put(step, log_data, driver):
        log_data["x"] = 1.0 if step < 2 else object()

    with pytest.raises(TypeError, match=r"log_data\['x'\] is <object .*; log numbers, text, arr"):
        QuadraticDriver().run(
            3,
            out=kind("run"),
            callback=LambdaCallback(before_parameter_update=put),
            show_progress=False,
        )
    assert read_log("run")["x"].iters.tolist() == [0, 1]
