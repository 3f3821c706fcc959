"""Every exported logger passes the conformance check; a new one is found here by itself."""

import contextlib
import inspect

import pytest

import ritz.loggers
from ritz.loggers import AbstractLogger, RuntimeLog
from ritz.plotting import read_log
from ritz.testing import check_logger

LOGGERS = {
    name: value
    for name, value in vars(ritz.loggers).items()
    if isinstance(value, type)
    and issubclass(value, AbstractLogger)
    and not inspect.isabstract(value)
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def arguments(name, folder):
    return {
        "CSVLog": {"path": "run"},
        "HDF5Log": {"path": "run"},
        "JsonLog": {"output_prefix": "run"},
        "MLflowLog": {"tracking_uri": f"file:{folder}/mlruns"},
    }.get(name, {})


def reader(name, folder):
    files = {"CSVLog": "run.csv", "HDF5Log": "run.h5", "JsonLog": "run.log"}
    if name in files:
        return lambda logger: read_log(folder / files[name])["loss"].iters
    if name == "RuntimeLog":
        return lambda logger: logger.data["loss"].iters
    return None


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_conformance(name, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    check_logger(lambda: LOGGERS[name](**arguments(name, folder)), folder, reader(name, folder))


def test_the_check_finds_an_eager_logger(tmp_path):
    class Eager(RuntimeLog):
        def __init__(self):
            super().__init__()
            (tmp_path / "early").touch()

    with pytest.raises(AssertionError, match="written before open"):
        check_logger(Eager, tmp_path)


def test_the_check_finds_a_logger_that_keeps_stale_rows(tmp_path):
    class Stale(AbstractLogger):
        def __init__(self):
            self.steps = []

        @contextlib.contextmanager
        def open(self, working_dir, stage_name, initial_step=0):
            yield

        def write(self, step, stats):
            self.steps.append(step)

    with pytest.raises(AssertionError, match=r"after opening at step 4 the rows are"):
        check_logger(Stale, tmp_path, lambda logger: logger.steps)


def test_the_check_finds_a_logger_that_takes_parameters_for_an_array(tmp_path):
    class Norms(RuntimeLog):
        def on_step_end(self, step, log_data, driver):
            if driver.settled_state is not None:
                driver.settled_state.parameters.sum()

    with pytest.raises(AttributeError, match="'dict' object") as raised:
        check_logger(Norms, tmp_path)
    assert any("nested dict" in note for note in raised.value.__notes__)
