"""One of three processes fails: all end soon and say why, what is saved is whole, and it goes on.

`failing_run` says what happens for each seed.
"""

import os
import subprocess
import time

import pytest

from ritz.checkpoint.folder import CheckpointFolder, read
from tests.arrangements import results, start
from tests.failures.failing_run import EVERY, SEEDS, WORLD, plan_of

MODULE = "tests.failures.failing_run"
QUICK = (0, 8, 12, 16)
WITHIN = 30.0
"""Seconds in which all must have ended."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("failures")


@pytest.mark.medium
@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[] if s in QUICK else pytest.mark.slow) for s in SEEDS]
)
def test_all_end_and_say_why(folder, seed):
    plan, own = plan_of(seed), folder / str(seed)
    own.mkdir()
    processes = start(MODULE, own / "out", own, seed, world=WORLD, cwd=own)
    said = [output_until(process, own / "began") for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 not in codes, said
    if plan.way.startswith("killed"):
        assert codes[plan.rank] == -9
        said.pop(plan.rank)
    for words in said:
        assert told(plan) in words, (plan, words[-3000:])
    newest = CheckpointFolder(own / "saved").entries()[-1]
    read(newest.path)
    assert newest.step > plan.step - 3 * EVERY  # one is only copied, and one being written


def output_until(process, began):
    """What a process prints until it ends, at most `WITHIN` seconds after the failure began."""
    deadline = time.monotonic() + 120  # until it begins
    while True:
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            since = time.time() - began.stat().st_mtime if began.exists() else 0.0
            if since > WITHIN or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"{since:.0f} s after the failure: {process.communicate()[0][-3000:]}")


def told(plan):
    """What all processes that were not killed say."""
    if plan.way.startswith("killed"):
        lost = f"process {plan.rank} of {WORLD} was lost"
        return lost if plan.rank else "another task died"  # which is what JAX says
    return "broken on purpose" if plan.way.startswith("exception") else "No space left on device"


@pytest.mark.medium
def test_all_go_on(folder):
    """With the rows and parameters of a run that never failed, bit for bit."""
    seeds = sorted(int(name) for name in os.listdir(folder))
    assert len(seeds) >= len(QUICK)
    found, _ = results(MODULE, folder, folder, *seeds, "on", world=WORLD)
    for seed in seeds:
        assert found[str(seed)] == found[plan_of(seed).domain], plan_of(seed)
