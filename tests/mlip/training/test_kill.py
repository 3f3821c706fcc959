"""A training run that is killed ends with the bits of one that is not."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ritz.mlip import ANNPotential
from tests.mlip.systems import leaves

PROGRAM = """
import sys
from pathlib import Path
from tests.mlip.systems import config, dataset, potential

folder = sys.argv[1]
done = [p for p in Path(folder).glob("0*") if not p.name.endswith("tmp")]
made, epochs = potential(), 60
settings = dict(checkpoint_dir=folder, checkpoint_interval=1, max_checkpoints=3,
                sampling_policy="error_weighted", force_fraction=0.5, force_resample_num_epochs=2)
if done:
    from ritz.checkpoint.resume import saved_steps
    step = saved_steps(folder)[1]
    epochs -= step // 3
if epochs:
    made.train(dataset=dataset(), config=config(iterations=epochs, **settings),
               resume_from=folder if done else None)
    made.save(folder + ".npz")
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=Path(__file__).parents[3]
    )


def newest(folder):
    return max((p.name for p in folder.glob("0*") if p.name[:8].isdigit()), default="")


def wait_for_progress(process, folder):
    """Until a further checkpoint is there, or the run is over."""
    before = newest(folder)
    while process.poll() is None and newest(folder) == before:
        time.sleep(0.02)


@pytest.mark.slow
def test_kills(tmp_path, record_property):
    assert start(tmp_path / "whole").wait() == 0
    random.seed(0)
    killed = 0
    while not (tmp_path / "killed.npz").exists():
        process = start(tmp_path / "killed")
        if killed < 4:
            wait_for_progress(process, tmp_path / "killed")
            time.sleep(random.uniform(0, 0.3))
            process.kill()
            killed += process.wait() != 0
        else:
            assert process.wait() == 0
    record_property("kills survived", killed)
    assert killed >= 3
    whole, other = (ANNPotential.load(tmp_path / f"{n}.npz") for n in ("whole", "killed"))
    for a, b in zip(leaves(whole), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
