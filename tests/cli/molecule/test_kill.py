"""`ritz molecule` killed in every stage and started again ends with the bits of the whole run."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ritz.checkpoint.folder import CheckpointFolder
from ritz.cli.main import main
from ritz.plotting import read_log

ROOT = Path(__file__).parents[3]

SMALL = [
    "system=He", "network=FermiNet", "network.hidden=[[8, 4]]", "network.n_determinants=1",
    "progress=false", "pretrain.basis=slater", "evaluate.estimators=[Dipole]",
    *(
        f"{stage}.{setting}"
        for stage in ("pretrain", "train", "evaluate")
        for setting in ("iterations=8", "n_walkers=16", "burn_in=3", "save_step_interval=3")
    ),
]  # fmt: skip
STAGES = "pretrain", "train", "evaluate"

pytestmark = [pytest.mark.bits, pytest.mark.slow]


def ritz(action, folder):
    """Run a command here, without callbacks of the saved configuration."""
    assert main(["molecule", action, *SMALL, f"{action}.callbacks=[]", f"folder={folder}"]) == 0


def killed(folder, stage, step):
    """Run the command of `stage` until the process kills itself at `step`."""
    action = "evaluate" if stage == "evaluate" else "train"
    arguments = f"{{step: {step}, saved: {str(step > 3).lower()}}}"
    killing = f"{{class_path: tests.cli.molecule.killing.KillAt, init_args: {arguments}}}"
    command = ["molecule", action, *SMALL, f"{stage}.callbacks=[{killing}]", f"folder={folder}"]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ritz.cli.main", *command],
        env={**os.environ, **cache, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def contents(folder):
    """All that must not depend on interruptions, as bytes, by its name."""
    found = {}
    for stage in STAGES:
        for suffix in (".csv", ".log"):
            log = read_log(folder / f"{stage}{suffix}")
            found |= {f"{stage}{suffix}/{k}": v for k, v in columns(log).items()}
        _, saved = CheckpointFolder(folder / "checkpoints" / stage).newest()
        found |= {f"{stage}/{k}": np.asarray(v).tobytes() for k, v in saved.arrays.items()}
    with np.load(folder / "digest.npz") as digest:
        found |= {f"digest/{name}": digest[name].tobytes() for name in digest.files}
    return found


def columns(log):
    """Every column of a log as bytes; times and the lengths of blocks may differ."""
    found = {}
    for name, history in log.items():
        if name not in ("wallclock", "block"):
            inner = history if isinstance(history, dict) else {"": history}
            for part, column in inner.items():
                for field, values in column.to_dict().items():
                    found[f"{name}/{part}/{field}"] = np.asarray(values).tobytes()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "whole"
    ritz("train", folder)
    ritz("evaluate", folder)
    return contents(folder)


def test_a_run_that_is_killed_in_every_stage_has_the_bits_of_the_whole(
    whole, tmp_path, capsys, caplog
):
    """Also before the first checkpoint of a stage, when the stage before it has ended."""
    caplog.set_level(logging.INFO)
    folder = tmp_path / "killed"
    killed(folder, "pretrain", 5)
    assert main(["molecule", "evaluate", f"folder={folder}", "progress=false"]) == 2
    assert f"run `ritz molecule train folder={folder}` first" in capsys.readouterr().err
    for step in (1, 5):
        killed(folder, "train", step)
    ritz("train", folder)
    assert "Going on from" in caplog.text and "train/00000003" in caplog.text
    killed(folder, "evaluate", 5)
    ritz("evaluate", folder)
    found = contents(folder)
    assert set(found) == set(whole)
    assert {name for name in whole if whole[name] != found[name]} == set()
