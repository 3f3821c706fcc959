"""The job scripts of examples/cluster, run as users run them, with stand-ins for the programs."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.arrangements import free_port
from tests.cluster import stand_ins

pytest.importorskip("netket")

SCRIPTS = stand_ins.ROOT / "examples" / "cluster"
SETTINGS = [
    "system=TransverseIsing", "system.extent=[4]", "train.n_samples=32", "train.iterations=12",
]  # fmt: skip
RUN = Path("runs/chain")
PATIENCE = 240


@pytest.fixture
def on_cluster(tmp_path):
    """Runs a line with the stand-ins, and returns what it printed."""
    environment = stand_ins.installed(tmp_path / "bin")

    def run(*line, **more):
        done = subprocess.run(
            line, env=environment | more, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr + outputs()
        return done

    run.environment = environment
    return run


def wait_until(condition, job):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline and job.poll() is None, outputs()
        time.sleep(0.05)


def outputs():
    return "".join(file.read_text() for file in Path().glob("job-*.out"))


def rows(folder):
    with open(folder / "train.csv") as file:
        return [(int(row["step"]), float(row["Energy.Mean"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The rows and the summary of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    line = [sys.executable, "-m", "ritz", "lattice", "train", "--progress=false", *SETTINGS]
    environment = {**os.environ, "PYTHONPATH": str(stand_ins.ROOT)}
    subprocess.run([*line, f"folder={folder}"], check=True, env=environment, timeout=PATIENCE)
    return rows(folder), json.loads((folder / "summary.json").read_text())


def assert_as(alone, printed):
    """One summary came out, that of a run of one process."""
    wanted, summary = alone
    found = rows(RUN)
    assert [step for step, _ in found] == [step for step, _ in wanted]
    assert [energy for _, energy in found] == pytest.approx([e for _, e in wanted], rel=1e-10)
    mine = json.loads((RUN / "summary.json").read_text())
    for name in ("energy", "error", "relative_error"):
        assert mine[name] == pytest.approx(summary[name], rel=1e-8), name
    assert (mine["steps"], mine["stop_reason"]) == (12, "FINISHED")
    assert printed.count("everything in runs/chain") == 1 and "Gloo" not in printed


@pytest.mark.slow
def test_a_run_that_slurm_ends_in_time_is_queued_again_and_finishes(on_cluster, alone):
    Path("waiting.py").write_text(WAITING)
    more = ["train.callbacks=[SlurmRequeue, waiting.Waiting]"]
    line = ["--nodes=2", "--ntasks-per-node=1", str(SCRIPTS / "slurm.sh"), *SETTINGS, *more]
    job = subprocess.Popen(["sbatch", "--wait", *line], env=on_cluster.environment)
    folder = Path(on_cluster.environment["STAND_INS"], "jobs", str(stand_ins.FIRST))
    wait_until(Path("waits").exists, job)
    (folder / "expire").touch()
    wait_until(lambda: not (folder / "expire").exists(), job)
    Path("signalled").touch()
    assert job.wait(timeout=PATIENCE) == 0, outputs()
    said = outputs()
    assert "job 4711 is in the queue again" in said, said
    assert said.count("2 processes of Slurm with 2 devices (cpu) share the run") == 2, said
    assert re.search(r"the run went on from step ([5-9]|1[01]) to step 12: finished", said), said
    assert_as(alone, said.partition("in the queue again")[2])


WAITING = """
import time
from pathlib import Path

from ritz.callbacks import AbstractCallback


class Waiting(AbstractCallback):
    \"\"\"Waits at step 5 until Slurm has sent its signal.\"\"\"

    def on_step_end(self, step, log_data, driver):
        while step == 5 and not Path("signalled").exists():
            Path("waits").touch()
            time.sleep(0.05)
"""


@pytest.mark.slow
def test_mpirun(on_cluster, alone):
    done = on_cluster("bash", str(SCRIPTS / "mpirun.sh"), *SETTINGS, N="2")
    assert "2 processes of Open MPI with 2 devices (cpu) share the run" in done.stderr
    assert_as(alone, done.stdout)


@pytest.mark.slow
def test_by_hand(on_cluster, alone):
    """Two machines, on which the script is started one after the other."""
    line = ["bash", str(SCRIPTS / "by_hand.sh"), f"localhost:{free_port()}", "2"]
    second = subprocess.Popen(
        [*line, "1", *SETTINGS], env=on_cluster.environment, stdout=subprocess.PIPE, text=True
    )
    time.sleep(1)
    done = on_cluster(*line, "0", *SETTINGS)
    assert second.communicate(timeout=PATIENCE)[0] == "" and second.returncode == 0
    assert "2 processes with 2 devices (cpu) share the run" in done.stderr
    assert_as(alone, done.stdout)


def test_an_array(on_cluster, tmp_path):
    """Each task has a seed and a folder of its own; a quick program stands for `ritz`."""
    program = tmp_path / "bin" / "ritz"
    program.write_text('#!/bin/sh\necho "$@" >> calls\n')
    on_cluster("sbatch", "--wait", "--array=0-2", str(SCRIPTS / "slurm_array.sh"), "x=2")
    assert Path("calls").read_text().splitlines() == [
        line
        for seed in range(3)
        for line in (
            f"lattice train --progress=false folder=runs/seeds/{seed} seed={seed} x=2",
            f"lattice evaluate --progress=false folder=runs/seeds/{seed}",
        )
    ]
