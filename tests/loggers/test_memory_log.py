import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from ritz.loggers import (
    History,
    JsonLog,
    RuntimeLog,
)
from ritz.plotting import read_log
from tests.loggers.rows import Pair, check_rich, write


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


@pytest.mark.parametrize("make", [RuntimeLog, lambda: JsonLog("log")], ids=["memory", "json"])
def test_closing_keeps_rows_that_were_written_by_hand(make):
    log = make()
    for step in range(4):
        log.write(step, {"a": float(step)})
    log.close()
    assert log.data["a"].iters.tolist() == [0, 1, 2, 3]
    log.write(4, {"b": 1.0})
    assert log.data["a"].values.tolist() == [0, 1, 2, 3] and log.data["b"].iters.tolist() == [4]


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
    with pytest.raises(ValueError, match="a list of 1 value cannot follow lists of 2"):
        log.write(0, {"b": [1, 2]})
        log.write(1, {"b": [1]})


def test_another_kind_is_refused():
    for first, then, kind in [
        (1.0, {"x": 1}, "numbers or statistics"),
        ({"x": 1}, 1.0, "dicts"),
        ([1, 2], 1.0, "lists"),
        (1.0, [1, 2], "numbers or statistics"),
    ]:
        log = RuntimeLog()
        log.write(0, {"a": first})
        with pytest.raises(ValueError, match=f"cannot follow {kind} of the same name"):
            log.write(1, {"a": then})


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
