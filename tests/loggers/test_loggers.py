import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

import h5py
import jax.numpy as jnp
import numpy as np
import orjson
import pytest

from ritz.callbacks import LambdaCallback
from ritz.loggers import (
    ConsoleLog,
    CSVLog,
    HDF5Log,
    History,
    JsonLog,
    MLflowLog,
    RuntimeLog,
    TensorBoardLog,
    WandbLog,
)
from ritz.plotting import read_log
from ritz.testing import QuadraticDriver


class Stats:
    """Statistics as NetKet gives them."""

    def __init__(self, mean):
        self.mean = mean

    def to_dict(self):
        return {"Mean": self.mean, "Variance": 0.5, "Sigma": 0.1, "R_hat": math.nan, "TauCorr": 2.0}


class Pair(NamedTuple):
    x: float
    y: float


def rich_row(step):
    row = {
        "Energy": Stats(-1.5 + 0.25j * step),
        "acceptance": 0.5,
        "info": {"fallback": bool(step % 2), "deep": {"n": step}},
        "lst": [step, 2.5],
        "vector": np.arange(3) + step,
        "matrix": jnp.ones((2, 2)) * step,
        "pair": Pair(1.0, step),
        "inf": -math.inf if step else math.nan,
        "nothing": None,
        "word": "yes",
    }
    if step >= 2:
        row["late"] = 7
    return row


def write(logger, steps, initial=0, folder="."):
    with logger.open(Path(folder), "run", initial):
        for step in steps:
            logger.write(step, rich_row(step))
    return logger


def check_rich(data, *, infinities=True):
    assert data["Energy"].iters.tolist() == [0, 1, 2]
    assert list(data["Energy"].keys()) == ["Mean", "Variance", "Sigma", "R_hat", "TauCorr"]
    assert data["Energy"]["Mean"].tolist() == [-1.5, -1.5 + 0.25j, -1.5 + 0.5j]
    assert np.isnan(data["Energy"]["R_hat"]).all()
    assert data["info"]["fallback"].values.tolist() == [False, True, False]
    assert data["info/deep/n"].values.tolist() == [0, 1, 2]
    assert data["lst"][0].values.tolist() == [0, 1, 2]
    assert data["vector"].values.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert data["matrix"].values.shape == (3, 2, 2)
    assert data["pair"]["y"].tolist() == [0, 1, 2]
    assert data["late"].iters.tolist() == [2]
    assert data["word"].values.tolist() == ["yes"] * 3
    assert "nothing" not in data
    values = data["inf"].values
    assert math.isnan(values[0])
    assert values[1] == -math.inf if infinities else math.isnan(values[1])


# In memory


def test_runtime_log_holds_everything():
    check_rich(write(RuntimeLog(), range(3)).data)


def test_runtime_log_saves_and_loads(tmp_path):
    log = write(RuntimeLog(), range(3))
    for name, file in [("a", "a.json"), ("b.log", "b.log"), (tmp_path / "c.json", "c.json")]:
        log.serialize(name)
        assert (tmp_path / file).exists()
        loaded = RuntimeLog.deserialize(name)
        check_rich(loaded.data, infinities=False)
        assert loaded._old_step == 2
    stream = io.BytesIO()
    log.serialize(stream)
    assert json.loads(stream.getvalue()) == json.loads((tmp_path / "a.json").read_bytes())


def test_loading_something_else_says_so(tmp_path):
    (tmp_path / "bad.json").write_text("{ not json")
    with pytest.raises(ValueError, match=r"bad.json is no log in JSON layout"):
        RuntimeLog.deserialize("bad")
    (tmp_path / "list.json").write_text('{"a": 3}')
    with pytest.raises(ValueError, match=r"expected histories, but found 3"):
        RuntimeLog.deserialize("list")


def test_runtime_log_is_called_as_netket_calls_it():
    log = RuntimeLog()
    log(0, {"a": 1.0}, None)
    log(0.5, {"a": 2.0})
    assert log.data["a"].iters.tolist() == [0, 0.5]
    assert log["a"].values.tolist() == [1.0, 2.0]
    assert repr(log).startswith("RuntimeLog")
    log.flush(None)


def test_types_grow_instead_of_cutting_values():
    log = RuntimeLog()
    for step, value in enumerate([1, 2.7, 1 + 2j]):
        log.write(step, {"a": value})
    assert log.data["a"].values.tolist() == [1, 2.7, 1 + 2j]


def test_fields_that_come_late_or_stay_away_are_nan():
    history = History()
    history.append(0, {"x": 1.0})
    history.append(1, {"x": 2.0, "y": 1})
    history.append(2, {"y": 3})
    np.testing.assert_array_equal(history["x"], [1, 2, math.nan])
    np.testing.assert_array_equal(history["y"], [math.nan, 1, 3])


def test_another_shape_is_refused():
    log = RuntimeLog()
    log.write(0, {"a": np.ones(2)})
    with pytest.raises(ValueError, match=r"shape \(3,\) cannot follow values of shape \(2,\)"):
        log.write(1, {"a": np.ones(3)})
    with pytest.raises(ValueError, match="a list of 1 values cannot follow lists of 2"):
        log.write(0, {"b": [1, 2]})
        log.write(1, {"b": [1]})


def test_a_row_that_fails_halfway_leaves_no_trace():
    log = JsonLog("run")
    with pytest.raises(ValueError, match="cannot follow"), log.open(Path("."), "run"):
        log.write(0, {"pair": Pair(1.0, 2.0)})
        log.write(1, {"pair": Pair(3.0, np.ones(2))})
    assert read_log("run.log")["pair"]["x"].tolist() == [1.0]


def test_history_reads_like_netkets():
    history = write(RuntimeLog(), range(3)).data["Energy"]
    assert history.Mean.tolist() == history["Mean"].tolist() == list(history)
    assert np.asarray(history).shape == (3,) and len(history) == 3
    assert history.main_value_name == "Mean" and history[1] == -1.5 + 0.25j
    steps, values = history.get()
    assert (len(steps), len(values)) == (3, 3)
    with pytest.raises(KeyError, match="no field 'mean'; there are: Mean, Variance"):
        history["mean"]
    with pytest.raises(AttributeError):
        history.nothing  # noqa: B018
    with pytest.raises(KeyError, match="nothing was logged as 'x'; there are: a"):
        log = RuntimeLog()
        log.write(0, {"a": 1})
        log.data["x"]


# JSON


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


def test_parameters_beside_the_log(monkeypatch):
    from flax import serialization

    def saved():
        tree = serialization.msgpack_restore(Path("run.mpack").read_bytes())
        return tree["params"].tolist()

    driver = QuadraticDriver()
    seen = []
    look = LambdaCallback(order=50, before_parameter_update=lambda *_: seen.append(saved()))
    monkeypatch.setattr(JsonLog, "max_cost", math.inf, raising=False)
    log = JsonLog("run", save_params_every=2, autoflush_cost=math.inf)
    driver.run(3, out=log, callback=look, show_progress=False)
    assert seen == [[1.0, -1.0], [1.0, -1.0], [0.25, -0.25]]  # those of steps 0 and 2
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


@pytest.mark.parametrize("delay", [0.0, 0.21, 0.47])
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
    lines = [orjson.dumps({"step": s, "row": {"a": {"fields": {"value": 1.0}}}}) for s in (1, 2, 3)]
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


# CSV


def read_csv(path="run.csv"):
    with open(path, newline="") as lines:
        return list(csv.reader(lines))


def test_csv_columns_may_come_later():
    log = CSVLog("run")
    with log.open(Path("."), "run"):
        log.write(0, {"a": 1.0})
        log.write(1, {"b": 0.1 + 0.2, "a": 2})
        log.write(2, {"b": math.nan, "c": 1 - 2j, "d": [math.inf, 3]})
        log.write(3, {"name": 'with, comma and "quotes"'})
    header, *rows = read_csv()
    assert header == ["step", "a", "b", "c.re", "c.im", "d.0", "d.1", "name"]
    assert rows == [
        ["0", "1.0", "", "", "", "", "", ""],
        ["1", "2.0", "0.30000000000000004", "", "", "", "", ""],
        ["2", "", "nan", "1.0", "-2.0", "inf", "3.0", ""],
        ["3", "", "", "", "", "", "", 'with, comma and "quotes"'],
    ]


def test_csv_drops_rows_and_torn_lines():
    write(CSVLog("run"), range(4))
    with open("run.csv", "a") as file:
        file.write("4,1.0,2.")  # cut off
    write(CSVLog("run"), [2], initial=2)
    assert [row[0] for row in read_csv()] == ["step", "0", "1", "2"]
    write(CSVLog("run", mode="write"), [5], initial=5)
    assert [row[0] for row in read_csv()] == ["step", "5"]
    with pytest.raises(ValueError, match="mode must be 'append' or 'write'"):
        CSVLog("run", mode="x")


def test_csv_takes_the_stage_name():
    write(CSVLog(), range(1), folder="sub")
    assert Path("sub/run.csv").exists()


# HDF5


def test_hdf5_layout_is_netkets():
    write(HDF5Log("run", metadata={"h": 1.0, "name": "ising"}), range(3))
    with h5py.File("run.h5") as file:
        assert file["data/Energy/iter"][:].tolist() == [0, 1, 2]
        assert file["data/Energy/Mean"].dtype == complex
        assert file["data/Energy/Mean"].chunks[0] > 1
        assert file["data/acceptance/value"].shape == (3,)
        assert file["data/lst/1/value"][:].tolist() == [2.5] * 3
        assert file["data/info/deep/n/value"][:].tolist() == [0, 1, 2]
        assert file["data/pair/x"][:].tolist() == [1.0] * 3
        assert file["data/matrix/value"].shape == (3, 2, 2)
        assert dict(file["metadata"].attrs) == {"h": 1.0, "name": "ising"}
    check_rich(read_log("run.h5"))


def test_hdf5_append_keeps_everything():
    write(HDF5Log("run"), range(2))
    log = write(HDF5Log("run", "append"), [2], initial=2)
    check_rich(log.data)
    check_rich(read_log("run.h5"))


def test_reading_something_else_as_hdf5(tmp_path):
    (tmp_path / "bad.h5").write_text("no")
    with pytest.raises(ValueError, match=r"bad.h5 is no HDF5 log"):
        read_log("bad.h5")


# The others


def test_console_log():
    stream = io.StringIO()
    QuadraticDriver().run(5, out=ConsoleLog(2, ["loss.mean"], stream=stream), show_progress=False)
    assert stream.getvalue() == (
        "step      0  loss.mean=3\nstep      2  loss.mean=1.125\nstep      4  loss.mean=1.0078125\n"
    )
    with pytest.raises(ValueError, match=r"none of Energy was logged; this run logs: loss.mean"):
        QuadraticDriver().run(1, out=ConsoleLog(1, ["Energy"]), show_progress=False)
    with pytest.raises(TypeError, match=r"write fields=\['Energy'\]"):
        ConsoleLog(1, "Energy")


def test_console_log_waits_for_what_is_logged_now_and_then():
    stream = io.StringIO()
    QuadraticDriver().run(
        4, obs={"mz": lambda p: 1.0}, step_size=3, out=ConsoleLog(1, ["mz"], stream),
        show_progress=False,
    )  # fmt: skip
    assert stream.getvalue() == "step      0  mz=1\nstep      3  mz=1\n"


def read_events(folder):
    """tag -> [(step, value)], from the records of TensorBoard's event files."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(Path(folder).glob("events*")):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            if event.HasField("session_log"):
                found.setdefault("session", []).append((event.step, event.session_log.status))
    return found


def test_tensorboard_log(caplog):
    log = write(TensorBoardLog("tb", metadata={"h": 1}), range(3))
    events = read_events("tb")
    assert events["Energy/Mean/im"] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert events["acceptance"] == [(k, 0.5) for k in range(3)]
    assert events["vector/2"][0] == (0, 2.0)
    assert math.isnan(events["Energy/R_hat"][0][1]) and events["inf"][1][1] == -math.inf
    assert "metadata/text_summary" in events
    tags = [tag for tag in events if tag.startswith("Energy")]
    assert [t.split("/")[1] for t in tags] == [
        "Mean",
        "Mean",
        "Variance",
        "Sigma",
        "R_hat",
        "TauCorr",
    ]
    write(log, [1], initial=1)
    assert (1, 1) in read_events("tb")["session"]  # START at step 1: what came after is forgotten
    assert caplog.text == ""


def test_wandb_log_offline(monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = WandbLog("ritz-tests", metadata={"h": 1}, mode="offline")
    driver = QuadraticDriver()
    seen = {}
    look = LambdaCallback(on_run_end=lambda *_: seen.update(dict(log._run.summary)))
    driver.run(2, out=log, callback=look, show_progress=False)
    assert seen["loss/mean"] == 1.5 and seen["step"] == 1
    first = log.run_id
    driver.run(1, out=log, show_progress=False)
    assert log.run_id == first
    assert len(list(Path("wandb").glob(f"offline-run-*-{first}"))) >= 1


def test_mlflow_log_offline(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    uri = f"file:{tmp_path}/store"
    log = MLflowLog("tests", uri, metadata={"h": 1}, save_params_every=2, batch=2)
    driver = QuadraticDriver()
    driver.run(3, out=log, show_progress=False)
    MlflowClient(uri)
    resumed = MLflowLog("tests", uri, run_id=log.run_id)
    driver.run(1, out=resumed, show_progress=False)
    client = MlflowClient(uri)
    history = client.get_metric_history(log.run_id, "loss.mean")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [
        (0, 3.0), (1, 1.5), (2, 1.125), (3, 1.03125),
    ]  # fmt: skip
    run = client.get_run(log.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["h"] == "1"
    artifacts = [a.path for a in client.list_artifacts(log.run_id, "parameters")]
    assert sorted(artifacts) == ["parameters/0.mpack", "parameters/2.mpack"]
    with pytest.raises(ValueError, match="save_params_every must be a whole number of at least 1"):
        MLflowLog(save_params_every=0)


def test_to_scalar():
    for value in (2, 2.0, np.float32(2), jnp.array([2.0]), 2 + 3j):
        assert RuntimeLog.to_scalar(value) == 2.0


def test_a_logger_used_by_hand_closes_when_flushed():
    log = JsonLog("run")
    for step in range(3):
        log(step, {"a": float(step)}, types.SimpleNamespace(parameters=np.ones(2)))
    log.flush()
    assert sorted(os.listdir()) == ["run.log", "run.mpack"]
    log(3, {"a": 3.0})
    log.flush()
    assert read_log("run.log")["a"].values.tolist() == [0, 1, 2, 3]


def test_a_logger_survives_an_error_in_write():
    class Full(RuntimeLog):
        def write(self, step, stats):
            raise OSError(28, "No space left on device")

    log, driver = Full(), QuadraticDriver()
    with pytest.raises(OSError, match="No space left"):
        driver.run(3, out=log, show_progress=False)
    assert log._opened is None and driver.step_count == 0
