import csv
import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from ritz.loggers import (
    CSVLog,
    HDF5Log,
)
from ritz.plotting import read_log
from tests.loggers.rows import check_rich, write


def read_csv(path="run.csv"):
    with open(path, newline="") as lines:
        return list(csv.reader(lines))


def test_csv_columns_may_come_later():
    log = CSVLog("run")
    with log.open(Path("."), "run"):
        log.write(0, {"a": 1.0})
        log.write(1, {"b": 0.1 + 0.2, "a": 2})
        log.write(2, {"b": math.nan, "c": 1 - 2j, "d": [math.inf, 3]})
        log.write(3, {"name": 'with, comma and\n"quotes"'})
    header, *rows = read_csv()
    assert header == ["step", "a", "b", "c.re", "c.im", "d.0", "d.1", "name"]
    assert rows == [
        ["0", "1.0", "", "", "", "", "", ""],
        ["1", "2.0", "0.30000000000000004", "", "", "", "", ""],
        ["2", "", "nan", "1.0", "-2.0", "inf", "3.0", ""],
        ["3", "", "", "", "", "", "", 'with, comma and "quotes"'],
    ]


def test_csv_takes_only_what_is_asked_for():
    log = CSVLog("run", quantities=["b", "missing"])
    with log.open(Path("."), "run"):
        log.write(0, {"a": 1.0, "b": {"mean": 2.0, "error": 0.5}})
        log.write(1, {"a": 1.0})
    assert read_csv() == [["step", "b.mean", "b.error"], ["0", "2.0", "0.5"], ["1", "", ""]]


def test_csv_leaves_out_what_is_not_wanted():
    log = CSVLog("run", without=["b"])
    with log.open(Path("."), "run"):
        log.write(0, {"a": 1.0, "b": np.zeros(3)})
        log.write(1, {"a": 2.0, "c": 3.0})
    assert read_csv() == [["step", "a", "c"], ["0", "1.0", ""], ["1", "2.0", "3.0"]]


def test_csv_columns_may_come_while_rows_are_held():
    log = CSVLog("run")
    with log.open(Path("."), "run"):
        log.write(0, {"a": 1.0})
        log.hold = True
        log.write(1, {"a": 2.0})
        log.write(2, {"a": 3.0, "b": 4.0})
        log.hold = False
        log.write(3, {"a": 5.0})
    _, *rows = read_csv()
    assert rows == [["0", "1.0", ""], ["1", "2.0", ""], ["2", "3.0", "4.0"], ["3", "5.0", ""]]


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
