"""Sweeps that are interrupted or killed, or whose end goes wrong, with stand-ins for commands."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import distributed

from ritz.sweeps import sweep
from tests.sweeps.test_sweep import ROOT, plan_of, starts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed.*")

PATIENCE = 60
LONG = {"vary": {"x": [1, 2, 3]}, "base": {"sleep": 60}}


def begin(folder, content, patience=PATIENCE):
    """A process with a sweep; it is about to begin."""
    line = [sys.executable, "-m", "tests.sweeps.interrupted", str(folder), str(patience)]
    places = {"PYTHONPATH": str(ROOT), "TMPDIR": os.getcwd()}
    process = subprocess.Popen(
        [*line, json.dumps(content)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **places},
        start_new_session=True,
    )
    assert process.stdout.readline() == "begins\n", process.communicate()[1]
    return process


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def records(folder):
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/sweep.json")}


@pytest.mark.medium
def test_errors_of_dask_at_the_end_take_no_results_away(tmp_path, monkeypatch, caplog):
    close = distributed.LocalCluster.close

    def failing(cluster, *given):
        close(cluster, *given)
        raise TimeoutError

    monkeypatch.setattr(distributed.LocalCluster, "close", failing)
    assert [one.state for one in sweep(plan_of(tmp_path, vary={"x": [1]}))] == ["finished"]
    assert "Dask's LocalCluster did not close in order (TimeoutError); outcomes" in caplog.text


@pytest.mark.medium
def test_ctrl_c_reaches_all_processes_of_a_terminal_and_is_noted(tmp_path):
    process = begin(tmp_path / "sweep", LONG)
    wait_until(lambda: len(list(tmp_path.glob("sweep/*/pid"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "ritz: interrupted\n")
    assert said in ("{'stopped': 2, 'waiting': 1}\n", "{'stopped': 3}\n")  # it may have been next
    assert not list(Path().glob("ritz-sweep-*"))


@pytest.mark.medium
def test_runs_that_do_not_save_themselves_in_time_are_told(tmp_path):
    process = begin(tmp_path / "sweep", {**LONG, "base": {"sleep": 60, "stubborn": True}}, 1)
    wait_until(lambda: len(list(tmp_path.glob("sweep/*/pid"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=PATIENCE)
    places = list(tmp_path.glob("sweep/*/pid"))
    for place in places:
        os.kill(int(place.read_text()), signal.SIGKILL)  # which tells that they went on
    names = ", ".join(sorted(place.parent.name for place in places))
    told = f"2 runs did not end within 1 s and go on by themselves: {names}."
    assert errors == f"{told}\nritz: interrupted\n"
    assert said == "{'running': 2, 'waiting': 1}\n"
    assert list(Path().glob("ritz-sweep-*"))  # what they have compiled, which they use


@pytest.mark.medium
@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize("delay", [0.0, 0.5, 1.0])
def test_a_signal_while_workers_start_is_told_in_one_line(tmp_path, send, delay):
    process = begin(tmp_path / "sweep", LONG)
    time.sleep(delay)
    send(process.pid, signal.SIGTERM)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, errors) == (143, "ritz: interrupted by SIGTERM\n")


@pytest.mark.medium
def test_a_sweep_that_is_killed_goes_on_and_does_nothing_twice_that_was_finished(tmp_path):
    runs = [{"x": 1}, {"x": 2, "sleep": 3}, {"x": 3, "sleep": 3}, {"x": 4}]
    process = begin(tmp_path / "sweep", {"runs": runs})
    plan = plan_of(tmp_path / "sweep", runs=runs)
    names = [run.name for run in plan.runs]
    wait_until(lambda: all((run.folder / "pid").exists() for run in plan.runs[:3]))
    process.kill()
    process.communicate(timeout=PATIENCE)
    before = records(tmp_path / "sweep")
    states = [before[name]["state"] for name in names[:3]]
    assert states == ["finished", "running", "running"] and names[3] not in before
    assert [one.state for one in sweep(plan)] == ["finished"] * 4
    found = records(tmp_path / "sweep")
    assert [found[name]["starts"] for name in names] == [1, 2, 2, 1]
    assert [starts(run.folder) for run in plan.runs] == [1, 2, 2, 1]
