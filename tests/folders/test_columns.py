"""Logs of any length are read at their ends, and column by column."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from ritz.folders.columns import open_log, thinned
from ritz.folders.json_columns import JSONColumns
from ritz.folders.tail import blocks_backwards, last_line, sampled_lines
from ritz.folders.view import Quantity, RunView
from ritz.loggers import CSVLog, HDF5Log, JsonLog
from ritz.plotting import plot_runs

FILES = ("log.log", "log.csv", "log.h5")
N_LONG = 30_000


def row(step):
    return {
        "loss": {"Mean": complex(step, 1), "Sigma": 0.5 * step},
        "plain": float("nan") if step % 5 == 0 else step / 3,
        "vector": np.arange(2.0),
        "text": f'a "], {step}',
        "whole": step,
    }


class Statistics:
    def __init__(self, fields):
        self.fields = fields

    def to_dict(self):
        return self.fields


def write(log, n):
    for step in range(n):
        values = row(step)
        log(step, {**values, "loss": Statistics(values["loss"])})
    return log


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_columns_are_those_of_the_log(name, finished):
    kinds = {"log.log": JsonLog("log"), "log.csv": CSVLog("log.csv"), "log.h5": HDF5Log("log")}
    log = write(kinds[name], 30)
    if finished:
        log.flush()
    columns = open_log(Path(name))
    assert {"loss", "plain", "whole"} <= set(columns.quantities)
    assert columns.main_field("loss") == "Mean" and columns.main_field("whole") == "value"
    for quantity, field in (("loss", "Mean"), ("loss", "Sigma"), ("plain", "value")):
        steps, values = columns.column(quantity, field)
        assert steps.tolist() == list(range(30))
        expected = [row(s)[quantity] for s in range(30)]
        expected = [e[field] if isinstance(e, dict) else e for e in expected]
        np.testing.assert_array_equal(values, np.real(expected))
    step, last = columns.last()
    assert step == 29 and float(last["loss"]["Sigma"]) == 14.5
    log.close()


def test_a_log_without_quantities_is_named():
    Path("a.log").write_text("{}")
    with pytest.raises(ValueError, match=r"^a\.log holds no quantity to draw"):
        plot_runs(["a.log"], "a.svg")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"a": 1}',
        '{"a": {"iters": [1, 2}',
        '{"a" [1]}',
        '{"a": {"iters": [1',
        '{"a":' * 50,
        '{"a": ["x]}',
    ],
)
def test_what_is_no_log_is_told(text):
    Path("a.log").write_text(text)
    with pytest.raises(ValueError, match="a.log is no log in JSON layout"):
        JSONColumns(Path("a.log"))


def test_any_spacing_and_nesting_can_be_read():
    document = {
        "a b": {"iters": [0, 1], "Mean": [1.5, None]},
        "inner": {"deep": [{"iters": [0], "value": [[1, 2]]}, {"iters": [], "value": []}]},
        "texts": {"iters": [0, 1], "value": ['x"]', None]},
        "empty": {},
    }
    for options in ({}, {"indent": 1}, {"separators": (",", ":")}):
        Path("a.log").write_text(json.dumps(document, **options))
        columns = open_log(Path("a.log"))
        steps, values = columns.column("a b", "Mean")
        assert steps.tolist() == [0, 1] and values[0] == 1.5 and np.isnan(values[1])
        assert columns.quantities == {"a b": ("Mean",), "texts": ("value",)}


def test_arrays_longer_than_a_piece_are_read_whole(monkeypatch):
    monkeypatch.setattr("ritz.folders.json_columns._CHUNK", 37)
    values = np.random.default_rng(0).standard_normal(500)
    content = {"x": {"iters": np.arange(3, 503), "value": values}}
    Path("a.log").write_bytes(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
    steps, found = open_log(Path("a.log")).column("x", "value")
    np.testing.assert_array_equal(found, values)
    assert steps.tolist() == list(range(3, 503))


def test_ends_of_files():
    path = Path("a.csv")
    assert last_line(path) is None
    for text, last in [("", None), ("a", None), ("a\n", b"a"), ("a\nb\ncut", b"b"), ("a\n\n", b"")]:
        path.write_text(text)
        assert last_line(path) == last
    path.write_text("h\n" + "x" * 200_000 + "\n" + "y" * 100_000)
    assert last_line(path) == b"x" * 200_000
    path.write_text("h\n" + "".join(f"{i},{'7' * (i % 50)}\n" for i in range(50_000)) + "12")
    lines = sampled_lines(path, 100)
    steps = [int(line.split(b",")[0]) for line in lines]
    assert steps == sorted(set(steps)) and 90 < len(steps) <= 102 and steps[-1] == 49_999
    path.write_text("h\n1\n2\n3")
    assert sampled_lines(path, 100) == [b"1", b"2"]


def test_blocks_from_the_end_hold_each_complete_line_once(monkeypatch):
    path = Path("a.csv")
    for size in (1, 3, 7, 1000):
        monkeypatch.setattr("ritz.folders.tail._BLOCK", size)
        for text in ("", "a", "a\n", "\n\nb\n", "one\ntwo\nthree\ncut", "long line\nb\n"):
            path.write_text(text)
            blocks = list(blocks_backwards(path))
            assert all(block.endswith(b"\n") for block in blocks)
            assert b"".join(reversed(blocks)).decode() == text[: text.rfind("\n") + 1]


@pytest.mark.parametrize("name", FILES)
def test_the_last_finite_value_of_a_long_log_is_found(name):
    kinds = {"log.log": JsonLog, "log.csv": CSVLog, "log.h5": HDF5Log}
    log = kinds[name]("log.csv" if name == "log.csv" else "log")
    for step in range(12_000):  # more than the rows of a CSV file that are drawn
        value = step / 8 if step <= 9011 else float("nan")
        log(step, {"a": ',a",', "loss": Statistics({"Mean": value}), "never": float("inf")})
    log.flush()
    log.close()
    columns = open_log(Path(name))
    field = columns.main_field("loss")
    assert columns.last_finite("loss", field) == (9011, 9011 / 8)
    assert columns.last_finite("never", "value") is None


def test_thinning_keeps_the_look():
    values = np.sin(np.arange(100_000) / 100)
    values[54_321], values[77] = 9.0, np.nan
    places = thinned(values, 1000)
    assert len(places) <= 1002 and 54_321 in places and places[0] == 0 and places[-1] == 99_999
    assert thinned(values[:10], 1000).tolist() == list(range(10))


def long_logs():
    step, rng = np.arange(N_LONG), np.random.default_rng(0)
    columns = {
        "Mean": np.exp(-step / 1e4) + 0.01 * rng.standard_normal(N_LONG),
        "Sigma": rng.random(N_LONG),
    }
    content = {"Energy": {"iters": step, **columns}}
    Path("a.log").write_bytes(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
    rows = zip(step.tolist(), *(c.tolist() for c in columns.values()), strict=True)
    Path("b.csv").write_text(
        "step,Energy.Mean,Energy.Sigma\n" + "".join(f"{a},{b!r},{c!r}\n" for a, b, c in rows)
    )


def test_long_logs_are_drawn_with_few_points():
    long_logs()
    plot_runs(["a.log", "b.csv"], "a.svg")
    assert Path("a.svg").stat().st_size < 2_000_000


LOOK = """
import re, sys
from ritz.cli.main import main
assert main(sys.argv[1:]) == 0
print([m for m in ("jax", "netket", "optax", "orbax") if m in sys.modules])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(int(peak[1]) / 1024 if peak else 0)
"""


def test_looking_at_runs_needs_neither_jax_nor_memory():
    long_logs()
    command = [sys.executable, "-c", LOOK, "plot", "a.log", "-o", "a.png"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[-2] == "[]" and float(out[-1]) < 200


def test_the_log_of_a_run_of_another_domain_is_found():
    Path("mlip").mkdir()
    Path("mlip/errors.csv").write_text("epoch,RMSE_train\n1,0.5\n")
    Path("mlip/train.csv").write_text("step,loss\n0,1.0\n")
    Path("relax.csv").write_text("step,fmax\n0,1.0\n")
    view = RunView(curves=(Quantity("fmax"),), logs=("relax",))
    with pytest.raises(ValueError, match="mlip has no quantity 'fmax'; it has: loss"):
        plot_runs(["relax.csv", "mlip"], "a.svg", view=view)


def test_a_single_row_is_drawn_as_a_point():
    Path("a.csv").write_text("step,fmax\n0,1.0\n")
    Path("b.csv").write_text("step,fmax\n0,1.0\n1,0.5\n")
    plot_runs(["a.csv"], "a.svg", quantity="fmax")
    plot_runs(["b.csv"], "b.svg", quantity="fmax")
    point = "C 0.795609 3 "  # an arc of the marker
    assert point in Path("a.svg").read_text() and point not in Path("b.svg").read_text()
