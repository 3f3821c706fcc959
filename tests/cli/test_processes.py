"""Commands of several processes: their options, what each of them prints, and how they fail."""

import os
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pandas
import pytest

from ritz.cli.main import main
from ritz.cli.processes import split_options
from ritz.folders.summary import read_summary
from tests.arrangements import free_port
from tests.cli.mlip.test_mlip import SMALL
from tests.driver.test_processes import ROOT
from tests.relax.systems import cluster

pytest.importorskip("netket")

TINY = ["system=TransverseIsing", "system.extent=[4]", "train.iterations=2", "train.n_samples=16"]


def refused(capsys, *line):
    assert main(line) == 2
    return capsys.readouterr().err


def test_options_are_taken_out_of_the_command_line():
    line = ["lattice", "train", "--distributed", "seed=3", "--coordinator_address", "a:61500",
            "num_processes=2", "--process_id=1", "--initialization_timeout=1e2"]  # fmt: skip
    assert split_options(line) == (
        ["lattice", "train", "seed=3"],
        {
            "coordinator_address": "a:61500", "num_processes": 2, "process_id": 1,
            "initialization_timeout": 100.0,
        },
    )  # fmt: skip
    assert split_options(["a", "--distributed"]) == (["a"], {})
    assert split_options(["a", "b=1"]) == (["a", "b=1"], None)
    with pytest.raises(ValueError, match="num_processes must be a number, but 'two' was given"):
        split_options(["--num_processes=two"])
    with pytest.raises(ValueError, match="process_id: a value is missing"):
        split_options(["--process_id"])


def test_what_is_wrong_is_one_line(capsys, monkeypatch):
    for name in [n for n in os.environ if n.startswith(("SLURM", "OMPI", "PMI", "JAX_COORD"))]:
        monkeypatch.delenv(name)
    said = refused(capsys, "lattice", "train", "--distributed", *TINY)
    assert said.startswith("ritz: no launcher was found") and said.count("\n") == 1
    said = refused(capsys, "molecule", "train", "--num-processes=3")
    assert "num_processes is given without coordinator_address and process_id" in said
    assert "did you mean --distributed" in refused(
        capsys, "lattice", "evaluate", "--distribute", *TINY
    )


@pytest.mark.medium
def test_one_process_just_runs(capsys, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert main(["lattice", "train", "--distributed", "--dry-run", *TINY]) == 0
    assert "everything can be built" in capsys.readouterr().out


def started(*line, **more):
    """Two processes of a command, on explicit coordinates: status, output and errors of each."""
    place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *line],
            env={**os.environ, **place, **more, "PYTHONPATH": str(ROOT), "JAX_PROCESS_ID": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    said = [process.communicate(timeout=200) for process in processes]
    return [(one.returncode, *texts) for one, texts in zip(processes, said, strict=True)]


@pytest.mark.medium
def test_scripts_start_in_the_same_way():
    Path("script.py").write_text(SCRIPT)
    first, second = started("script.py")
    assert first == (0, "2 3.0\nconnected already\n", first[2]), first
    assert second == (0, "2 3.0\nconnected already\n", ""), second
    assert first[2].startswith("2 processes with 2 devices (cpu) share the run")


SCRIPT = """
import logging

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

import ritz.distributed

logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("jax").setLevel(logging.ERROR)
own = ritz.distributed.initialize(initialization_timeout=60)
total = multihost_utils.process_allgather(jnp.ones(1) * (own.process_id + 1)).sum()
print(jax.process_count(), float(total))
try:
    ritz.distributed.initialize()
except RuntimeError as error:
    print("connected already" if "connected already" in str(error) else error)
"""


@pytest.mark.slow
def test_an_error_of_all_is_told_once():
    command = ["-m", "ritz", "lattice", "train", "--distributed", *TINY]
    first, second = started(*command, "folder=a", "train.iterations=-1")
    assert (first[:2], second[:2]) == ((2, ""), (2, ""))
    assert "ritz: train.iterations must be a whole number" in first[2] and second[2] == ""


@pytest.mark.slow
def test_an_error_of_one_ends_the_other_while_it_waits():
    """Process 0 is not in a run, and waits for something else."""
    Path("mine.py").write_text(UNEQUAL)
    begin = time.monotonic()
    command = ["-m", "ritz", "lattice", "train", "--distributed", "folder=a"]
    first, second = started(*command, "system=mine.unequal")
    assert first[0] == second[0] == 1  # it does not wait for a lost one when it exits
    told = "process 1 of 2 failed in ritz lattice train: ValueError: system: broken on purpose"
    assert told in first[2] and "ritz: system: broken on purpose\n" in second[2]
    assert time.monotonic() - begin < 90  # it would wait for 200 s


UNEQUAL = """
import time

import jax
from ritz.lattice.systems import Heisenberg, LatticeSystem


def unequal() -> LatticeSystem:
    if jax.process_index() == 0:
        time.sleep(200)
    raise ValueError("broken on purpose")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        ["lattice", *TINY, "evaluate.n_samples=16"],
        ["molecule", "system.atoms=[[He, [0, 0, 0]]]", "system.unit=bohr", "train.iterations=2",
         "train.n_walkers=32", "pretrain.iterations=2"],
    ],
)  # fmt: skip
def test_a_command_that_is_given_again_says_that_its_run_has_ended(line):
    """Process 0 alone says so, and needs no other one for it; results stay as they are."""
    domain, *settings = [*line, "evaluate.iterations=10", "folder=a"]
    for action in ("train", "evaluate"):
        results = []
        for _ in range(2):
            first, second = started("-m", "ritz", domain, action, "--distributed", *settings)
            assert first[0] == second[0] == 0, first[2] + second[2]
            results.append(read_summary("a")[action])
        assert "the run has ended: finished all steps" in first[1]
        assert results[0] == results[1]


@pytest.mark.slow
def test_potentials_are_trained_and_used_together():
    """Training, evaluation and relaxation give the files of one process."""
    pytest.importorskip("ase")
    ase.io.write("clusters.extxyz", [cluster(13, seed) for seed in range(3)])
    settings = [*SMALL, "train.iterations=3", "members=2", "train.callbacks=[]"]
    commands = [
        ["mlip", "train", *settings, "folder=FOLDER"],
        ["mlip", "evaluate", "folder=FOLDER"],
        ["relax", "clusters.extxyz", "--model=lennard-jones", "--folder=FOLDER-relaxed",
         "--max-steps=20", "--trajectory=path.traj"],
    ]  # fmt: skip
    for command in commands:
        alone = [word.replace("FOLDER", "one") for word in command]
        status = subprocess.run([sys.executable, "-m", "ritz", *alone], check=False).returncode
        together = [word.replace("FOLDER", "two") for word in command]
        first, second = started("-m", "ritz", *together, "--distributed")
        assert first[0] == second[0] == status, first[2] + second[2]
        assert "everything in two" in first[1] and second[1] == ""
    for folder in ("one", "one-relaxed"):
        names = sorted(path.name for path in Path(folder).iterdir())
        other = Path(folder.replace("one", "two"))
        assert names == sorted(path.name for path in other.iterdir())
        for path in Path(folder).glob("*.csv"):
            assert_same_table(path, other / path.name)
    assert len(ase.io.read("two-relaxed/path.traj", ":")) > 3


def assert_same_table(path, other):
    """In single precision, as training is by default."""
    known, found = pandas.read_csv(path), pandas.read_csv(other)
    timed = [c for c in known if c in ("seconds", "wallclock", "block", "file")]
    pandas.testing.assert_frame_equal(
        found.drop(columns=timed), known.drop(columns=timed), rtol=3e-5, obj=str(path)
    )
