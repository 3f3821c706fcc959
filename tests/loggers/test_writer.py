"""Writers that use flat names."""

from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from ritz.loggers import AbstractLogger, CSVLog, RuntimeLog, Writer, configurable_dataclass
from ritz.loggers.flat_row import FlatRow
from ritz.testing import QuadraticDriver


class Stats(NamedTuple):
    mean: complex
    variance: float
    error_of_mean: float


class NetKetStats:
    """Its parts have names with capitals."""

    def to_dict(self):
        return {"Mean": -2.0, "Variance": 0.3}


ROW = {
    "total": Stats(-1.5 + 0.1j, 0.25, 0.01),
    "kinetic": NetKetStats(),
    "energy": {"kinetic_var": 7.0},
    "acceptance": 0.6,
    "info": {"norm": 2.0},
    "note": "text",
}


def test_flat_names():
    row = FlatRow(ROW, "total")
    assert list(row) == list(ROW) and row["total"] is ROW["total"]
    expected = {
        "total_energy": -1.5 + 0.1j, "total_energy_var": 0.25, "total_energy_error": 0.01,
        "energy:kinetic": -2.0, "pmove": 0.6, "info:norm": 2.0, "total:variance": 0.25,
        "energy:kinetic_var": 7.0,  # what is there by this name comes first
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert all(name in row for name in expected)
    assert FlatRow({"kinetic": NetKetStats()}, "x")["energy:kinetic_var"] == 0.3
    for name in (
        "nothing",
        "energy:note",
        "energy:acceptance",
        "note:upper",
        "total:_fields",
        "x:",
    ):
        assert name not in row and row.get(name, 3) == 3
        with pytest.raises(KeyError):
            row[name]
    flat = row.flattened()
    assert expected.items() <= flat.items() and ROW.items() <= flat.items()
    assert FlatRow({"loss": 3.0}, "loss").flattened() == {"loss": 3.0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, 2.0), (1 + 2j, 1.0), (np.float32(0.5), 0.5), (jnp.ones(()), 1.0), (jnp.ones(1), 1.0),
        (np.array([1.0, 2.0]), 1.5), ([1, 2], 1.5), (ROW["total"], -1.5), (ROW["kinetic"], -2.0),
        (True, 1.0), ("text", np.nan), (None, np.nan), ({}, np.nan), (np.zeros(0), np.nan),
        ([[1], [1, 2]], np.nan),
    ],
)  # fmt: skip
def test_to_scalar_takes_whatever_a_row_has(value, expected):
    found = AbstractLogger.to_scalar(value)
    assert type(found) is float
    np.testing.assert_equal(found, expected)


@configurable_dataclass
class MyWriter(Writer):
    suffix: str = "my_log"

    @contextmanager
    def open(self, working_dir, stage_name, initial_step=0):
        self._file = (working_dir / f"{stage_name}_{self.suffix}.txt").open("a")
        try:
            yield
        finally:
            self._file.close()

    def write(self, step, stats):
        energy = self.to_scalar(stats.get("total_energy", float("nan")))
        pmove = self.to_scalar(stats.get("pmove", float("nan")))
        self._file.write(f"{step},{energy},{pmove}\n")


@pytest.mark.parametrize("max_block", [1, None])
def test_a_writer_in_a_folder_that_is_not_there_yet(max_block):
    driver, log = QuadraticDriver(noise=0.1), RuntimeLog()
    driver.working_dir = Path("new/folder")
    driver.run(3, out=[MyWriter(), log], show_progress=False, max_block=max_block)
    rows = np.genfromtxt("new/folder/run_my_log.txt", delimiter=",")
    np.testing.assert_array_equal(rows[:, 1], log["loss"]["mean"])
    assert np.isnan(rows[:, 2]).all()
    assert MyWriter(suffix="x").suffix == "x" and MyWriter() != MyWriter()


def test_rows_of_other_loggers_are_as_they_are():
    driver = QuadraticDriver()
    driver.run(2, out=CSVLog("a"), show_progress=False)
    assert "total_energy" not in Path("a.csv").read_text()


def test_options_of_the_decorator():
    @configurable_dataclass(kw_only=True)
    class Other(MyWriter):
        more: int = 3

    with pytest.raises(TypeError):
        Other("x", 4)
    assert Other(more=4).more == 4
