"""Sweeps on queues, by dask-jobqueue, with stand-ins for the programs of queues."""

import importlib.util
import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import dask.config

from ritz.sweeps import clusters, sweep
from ritz.sweeps.record import read_record
from tests.cluster import stand_ins
from tests.sweeps.test_sweep import plan_of, starts

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed.*"),
    pytest.mark.skipif(importlib.util.find_spec("dask_jobqueue") is None, reason="it is missing"),
]

PATIENCE = 60


@pytest.fixture(autouse=True)
def queue(tmp_path, monkeypatch):
    """The folder of the jobs."""
    for name, value in stand_ins.installed(tmp_path / "bin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clusters, "LOOKS_EVERY", 0.5)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        yield tmp_path / "bin" / "jobs"


def jobs(queue):
    return sorted(place.name for place in queue.iterdir())


def state(run):
    found = read_record(run)
    return found and found.state


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_runs_finish_on_a_queue(queue, kind):
    cluster = {"kind": kind, "cores": 1, "memory": "500MB"}
    plan = plan_of(Path("sweep"), cluster=cluster, vary={"x": [1, 2, 3]}, workers=2)
    before = signal.getsignal(signal.SIGINT)
    found = sweep(plan)
    assert signal.getsignal(signal.SIGINT) is before  # Ctrl-C is that of the command
    assert {one.state for one in found} == {"finished"}
    assert [starts(run.folder) for run in plan.runs] == [1, 1, 1]
    assert len(jobs(queue)) == 2
    script = (queue / jobs(queue)[0] / "script").read_text()
    assert {"slurm": "#SBATCH -n 1", "pbs": "#PBS -l select=1", "lsf": "#BSUB -n 1"}[kind] in script
    assert "--resources run=1" in script
    wait_until(lambda: not any(list(stand_ins.processes_of(job)) for job in jobs(queue)))


@pytest.mark.medium
def test_a_job_that_the_scheduler_ends_is_replaced_and_its_run_started_again(tmp_path, queue):
    cluster = {"kind": "slurm", "cores": 1, "memory": "500MB"}
    runs = [{"x": 1, "sleep": 2}]
    plan = plan_of(tmp_path / "sweep", cluster=cluster, runs=runs, workers=1)
    begun = plan.runs[0].folder / "starts"

    def end():
        wait_until(begun.exists)
        stand_ins.scancel(jobs(queue)[:1])

    ending = threading.Thread(target=end)
    ending.start()
    found = sweep(plan)
    ending.join()
    assert [one.state for one in found] == ["finished"], found
    assert len(jobs(queue)) == 2 and starts(plan.runs[0].folder) == 2
    assert os.environ["STAND_INS"] == str(Path(queue).parent)


@pytest.mark.medium
def test_a_job_that_ends_takes_only_its_run_along(tmp_path, queue):
    """Runs that were over or that it would have had later are not done again, nor given up."""
    cluster = {"kind": "slurm", "cores": 1, "memory": "500MB"}
    runs = [{"x": 1}, {"x": 2, "fail": True}, {"x": 3, "sleep": 3}, {"x": 4}, {"x": 5}]
    plan = plan_of(tmp_path / "sweep", cluster=cluster, runs=runs, workers=1, retries=0)

    def end():
        wait_until((plan.runs[2].folder / "starts").exists)
        stand_ins.scancel(jobs(queue)[:1])

    ending = threading.Thread(target=end)
    ending.start()
    found = sweep(plan)
    ending.join()
    assert [one.state for one in found] == ["finished", "failed", "killed", "finished", "finished"]
    assert [starts(run.folder) for run in plan.runs] == [1] * 5


@pytest.mark.medium
def test_jobs_without_a_run_are_ended(tmp_path, queue):
    cluster = {"kind": "slurm", "cores": 1, "memory": "500MB"}
    plan = plan_of(
        tmp_path / "sweep", cluster=cluster, runs=[{"x": 1}, {"x": 2, "sleep": 8}], workers=2
    )
    alive = []

    def look():
        wait_until(lambda: state(plan.runs[0]) == "finished")
        wait_until(lambda: sum(bool(list(stand_ins.processes_of(job))) for job in jobs(queue)) == 1)
        alive.append(state(plan.runs[1]))

    looking = threading.Thread(target=look)
    looking.start()
    found = sweep(plan)
    looking.join()
    assert alive == ["running"]
    assert [one.state for one in found] == ["finished"] * 2
    assert [starts(run.folder) for run in plan.runs] == [1, 1]
