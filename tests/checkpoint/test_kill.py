"""A lattice run that is killed at random moments ends as the uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
N_STEPS = 2000

pytestmark = pytest.mark.netket


def start(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "errors.txt", "ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.checkpoint.lattice_run", str(folder), str(N_STEPS)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=environment(folder),
        )


def environment(folder):
    # Programs compiled by an earlier process are taken from the disk.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return {**os.environ, **cache}


def finish(process, folder):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0 and output.endswith("done\n"), (
        folder / "errors.txt"
    ).read_text()
    with np.load(folder / "result.npz") as saved:
        return {name: saved[name].tobytes() for name in saved.files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "whole"
    return folder, finish(start(folder), folder)


def interrupt(folder, number, kills, seed, running=0.8):
    """Send `number` to `kills` runs in a row, each at a random moment; returns their statuses.

    The fraction `running` of them gets it while steps are taken, others also when they start.
    """
    chance, statuses = random.Random(seed), []
    for _ in range(kills):
        process = start(folder)
        if chance.random() < running:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.5))
        else:
            time.sleep(chance.uniform(0.5, 4))
        process.send_signal(number)
        statuses.append(process.wait(timeout=60))
        process.stdout.close()
    return statuses


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize(
    ("seed", "kills"),
    [(0, 4), *(pytest.param(seed, 10, marks=pytest.mark.slow) for seed in range(1, 11))],
)
def test_kills(uninterrupted, seed, kills, record_property):
    whole_folder, whole = uninterrupted
    folder = whole_folder.with_name(f"killed{seed}")
    statuses = interrupt(folder, signal.SIGKILL, kills, seed)
    assert -signal.SIGKILL in statuses
    resumed = finish(start(folder), folder)
    assert {name for name in whole if whole[name] != resumed.get(name)} == set()
    assert set(resumed) == set(whole)
    record_property("kills survived", statuses.count(-signal.SIGKILL))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals(uninterrupted, number):
    whole_folder, whole = uninterrupted
    folder = whole_folder.with_name(number.name)
    assert interrupt(folder, number, 1, seed=3, running=1) == [128 + number]
    assert any(p.name.endswith("-end") for p in (folder / "checkpoints").iterdir())
    resumed = finish(start(folder), folder)
    assert {name for name in whole if whole[name] != resumed.get(name)} == set()
