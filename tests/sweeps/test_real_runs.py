"""A sweep of real runs, two of which are killed, and which is itself stopped once."""

import csv
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")
pytest.importorskip("netket")

from ritz.cli.main import main
from ritz.cli.messages import reason
from ritz.folders.lock import read_lock
from ritz.sweeps import compare

ITERATIONS = 60
EXTENTS, FIELDS = (4, 5, 6), (0.5, 1.0, 1.5, 2.0)
CONTENT = {
    "command": "lattice train",
    "folder": "sweep",
    "base": {"system": "TransverseIsing", "train": {"iterations": ITERATIONS, "n_samples": 256}},
    "vary": {"system.extent": [[n] for n in EXTENTS], "system.field": [*FIELDS]},
    "seeds": 2,
}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
PATIENCE = 900


def begin():
    line = [sys.executable, "-m", "ritz", "sweep", "sweep.yaml"]
    return subprocess.Popen(
        line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def going():
    """Numbers of the processes of runs that go on, by their folders."""
    locks = {run.parent: read_lock(run.parent) for run in Path("sweep").glob("*/run.lock")}
    return {run: lock["pid"] for run, lock in locks.items() if lock and lock.get("ended") is None}


def records():
    return {f.parent: json.loads(f.read_text()) for f in Path("sweep").glob("*/sweep.json")}


def finished():
    return sum(record["state"] == "finished" for record in records().values())


def exact_energy(n, field):
    """Ground state of -sum sz sz - field sum sx on a ring of n spins."""
    x, z = np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])

    def product(factors):
        parts = [factors.get(site, np.eye(2)) for site in range(n)]
        return functools.reduce(np.kron, parts)

    bonds = sum(product({site: z, (site + 1) % n: z}) for site in range(n))
    fields = sum(product({site: x}) for site in range(n))
    return np.linalg.eigvalsh(-bonds - field * fields)[0]


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"command": ["lattice train", "lattice foo"]}, r"lattice foo: .*\(choose from 'train'"),
        ({"vary": {"system.field": [0.5, "abc"]}}, r"field=abc,seed=0: system.field: 'abc' was"),
        ({"cluster": {"kind": "slrum"}}, "cluster.kind must be one of local, slurm, pbs, lsf"),
        ({"halving": {"least": 0}}, "halving.least must be a whole number from 1 on"),
    ],
)
def test_mistakes_are_told_before_anything_is_executed(capsys, change, told):
    content = {**CONTENT, "base": {**CONTENT["base"], "system.extent": [4]}}
    content["vary"] = {"system.field": [0.5]}
    Path("sweep.yaml").write_text(json.dumps({**content, **change}))
    assert main(["sweep", "sweep.yaml"]) == 2
    assert re.match(f"ritz: {told}", capsys.readouterr().err)
    assert not Path("sweep").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1, 2]", "sweep.yaml describes no sweep: it must have entries .*, but holds .1, 2.[.]"),
        ("", "sweep.yaml describes no sweep: it must have entries .*, but is empty"),
        (json.dumps({**CONTENT, "folder": "/dev/null/x"}), "folder: the sweep cannot have"),
    ],
)
def test_files_of_no_sweep_are_told(capsys, content, told):
    Path("sweep.yaml").write_text(content)
    assert main(["sweep", "sweep.yaml", "--dry-run"]) == 2
    assert re.match(f"ritz: {told}", capsys.readouterr().err)


def test_an_error_without_words_is_told_by_its_type():
    assert reason(TimeoutError()) == "TimeoutError"


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
def test_a_sweep_survives_kills_and_a_stop():
    Path("sweep.yaml").write_text(json.dumps(CONTENT))
    sweep, killed = begin(), set()
    while len(killed) < 2:
        wait_until(lambda: set(going()) - killed)
        run, process = next((r, p) for r, p in going().items() if r not in killed)
        os.kill(process, signal.SIGKILL)
        killed.add(run)
    wait_until(lambda: finished() >= 4)
    wait_until(going)
    sweep.send_signal(signal.SIGTERM)
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 143, said
    wait_until(lambda: not going())
    assert 4 <= finished() < 24
    stopped = {run: one["starts"] for run, one in records().items() if one["state"] != "finished"}
    assert stopped

    sweep = begin()
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 0 and "24 runs: 24 finished" in said, said
    frame = compare(["sweep"])
    assert len(frame) == 24 and set(frame["stop_reason"]) == {"FINISHED"}
    assert set(frame["steps"]) == {ITERATIONS}
    assert set(zip(frame["extent"], frame["field"], frame["seed"], strict=True)) == {
        *itertools.product(EXTENTS, FIELDS, (0, 1))
    }
    for _, row in frame.iterrows():
        exact = exact_energy(row["extent"], row["field"])
        assert abs(row["energy"] - exact) < max(5 * row["error"], 0.005 * abs(exact)), row
    for run in Path("sweep").iterdir():
        with open(run / "train.csv") as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(ITERATIONS))
    for run, one in records().items():
        assert one["starts"] == (stopped[run] + 1 if run in stopped else 1 + (run in killed)), run
