import io
import math
import os
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.loggers import (
    ConsoleLog,
    JsonLog,
    MLflowLog,
    RuntimeLog,
    TensorBoardLog,
    WandbLog,
)
from ritz.plotting import read_log
from ritz.testing import QuadraticDriver
from tests.loggers.rows import write


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
        4,
        obs={"mz": lambda p: 1.0},
        step_size=3,
        out=ConsoleLog(1, ["mz"], stream),
        show_progress=False,
    )
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
