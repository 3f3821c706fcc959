"""`ritz relax` in a run folder: settings, files, what is kept, and going on."""

import csv
import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml

from ritz.cli.main import main
from ritz.folders.config import domain_of
from ritz.plotting import read_log
from ritz.relax import relax
from tests.relax.systems import argon, argons, lennard_jones

MODEL = [
    "model=lennard-jones", "model.epsilon=0.0104", "model.sigma=3.4", "model.cutoff=6.0",
    "model.onset=5.0", "progress=false",
]  # fmt: skip

STOP = """
import signal
from pathlib import Path
from ritz.callbacks import LambdaCallback

def stop() -> LambdaCallback:
    def act(step, row, driver):
        if step == 20 and Path("stop").exists():
            Path("stop").unlink()
            signal.raise_signal(signal.SIGTERM)
    return LambdaCallback(on_step_end=act)
"""


@pytest.fixture
def ritz(capsys):
    ase.io.write("two.extxyz", [argon(0), argon(1)])
    ase.io.write("third.vasp", argon(2))

    def run(*arguments):
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_run_folder_holds_everything(ritz):
    files = "files=[*.extxyz, third.vasp, none.cif]"
    command = ["relax", files, *MODEL, "fmax=0.005", "folder=r", "trajectory=way.traj"]
    status, out, error = ritz(*command)
    assert status == 1, error
    assert {p.name for p in Path("r").iterdir()} == {
        "config.yaml", "checkpoints", "fmax.png", "relax.csv", "relaxed.csv", "relaxed.extxyz",
        "summary.json", "warnings.log", "way.traj",
    }  # fmt: skip
    assert "none.cif is skipped" in Path("r/warnings.log").read_text()
    with open("r/relaxed.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["two.extxyz", "two.extxyz", "third.vasp", "none.cif"]
    expected = relax(argons(3), lennard_jones(), fmax=0.005)
    assert [float(row["energy"]) for row in rows[:3]] == pytest.approx(expected.energy, abs=1e-9)
    assert out.endswith(
        "3 converged, 1 skipped; r/relaxed.extxyz, r/relaxed.csv\npicture in r/fmax.png\n"
        "everything in r\n"
    )
    summary = json.loads(Path("r/summary.json").read_text())
    assert summary["relax"]["converged"] == 3 and summary["skipped"] == 1
    assert summary["stop_reason"] == "FINISHED" and summary["result_of"] == "relax"
    log = read_log("r/relax.csv")
    assert "structures" not in log and log["converged"]["value"][-1] == 3
    assert domain_of("r") == "relax"

    status, out, _ = ritz("status", "r")
    assert status == 0 and re.search(r"  relax\n    step            \d+\n", out)
    force = re.search(r"largest force   (.*) eV/Angstrom\n    running         0\n", out)
    assert force and 0 < float(force[1]) < 0.005  # of those that ran last
    assert "converged       3\n" in out and "time left" not in out
    assert ritz("plot", "r", "-o", "a.svg")[:2] == (0, "a.svg\n")


@pytest.mark.medium
def test_the_folder_alone_goes_on(ritz, caplog):
    Path("stops_once.py").write_text(STOP)
    given = ["relax", "two.extxyz", "third.vasp", *MODEL, "--fmax", "1e-4"]
    assert ritz(*given, "folder=whole")[0] == 0
    Path("stop").touch()
    stopped = [*given, "--callbacks=[stops_once.stop]", "folder=r"]
    status, out, error = ritz(*stopped)
    assert status == 143 and error == "ritz: interrupted by SIGTERM\n" and out == ""
    assert json.loads(Path("r/summary.json").read_text())["stop_reason"] == "INTERRUPTED"
    assert not Path("r/relaxed.csv").exists()
    out = ritz("status", "r")[1]
    assert "step            21\n" in out and "running         3" in out and "time" not in out

    status, out, _ = ritz("relax", "folder=r")  # with the configuration of the folder
    assert status == 0 and out.startswith("the run went on from step 21 to step ")
    first, second = (Path(name, "relaxed.csv").read_text() for name in ("whole", "r"))
    assert first == second
    frames = [ase.io.read(f"{name}/relaxed.extxyz", ":") for name in ("whole", "r")]
    for one, other in zip(*frames, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert not Path("r/config_history").exists() and "by hand" not in caplog.text

    status, out, _ = ritz(*stopped)  # and the same command knows that nothing is left
    assert status == 0 and out.startswith("the run has ended, and nothing was left to do")
    assert "give r/relaxed.extxyz and another folder.\n" in out
    error = ritz("relax", "folder=r", "fmax=1e-5")[2]
    assert "r holds a relaxation with another fmax, max_steps, optimizer or cell" in error
    assert "To relax them further, give r/relaxed.extxyz as files, and another folder." in error
    hint = "To go on all the same, give accept_changes='[convergence]'.\n"
    assert error.endswith(hint)
    Path("r/relaxed.extxyz").unlink()
    error = ritz("relax", "folder=r", "fmax=1e-5")[2]
    assert "relaxed.extxyz" not in error and error.endswith(f"folder to begin anew. {hint}")
    assert ritz("relax", "folder=r", "fmax=1e-5", "accept_changes=[convergence]")[0] == 0


def test_the_printed_configuration_is_the_configuration(ritz):
    short = ["relax", "two.extxyz", "--model", "lennard-jones", "--model.epsilon=0.02", "--cell"]
    status, text, _ = ritz(*short, "--print-config")
    config = yaml.safe_load(text)
    assert status == 0 and config["files"] == ["two.extxyz"] and config["cell"] is True
    assert config["model"] == {"class_path": "lennard-jones", "init_args": {"epsilon": 0.02}}
    Path("c.yaml").write_text(text)
    assert ritz("relax", "--config", "c.yaml", "--print_config")[1] == text
    changed = ritz("relax", "third.vasp", "--config", "c.yaml", "cell=false", "--print_config")[1]
    assert changed == text.replace("two.extxyz", "third.vasp").replace("cell: true", "cell: false")
    Path("d.yaml").write_text("files: [third.vasp]\nmodel: lj\nmax-steps: 1e2\n")
    out = ritz("relax", "--config=d.yaml", "model.cutoff=6.0", "model.onset=5.0", "--dry-run")[1]
    assert out == "relax: 1 structure; everything can be built. Nothing was written.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder=r", "checkpoint=c"], "checkpoint: the run folder has the checkpoints; leave out"),
        (["folder=none"], None),
        (["fmx=0.1"], "fmx: there is no such setting; did you mean fmax? (see ritz relax --help)"),
        (["optimizer=cg"], "optimizer: 'cg' was given; there are: fire, fire2, lbfgs"),
        (["cell=3"], "cell: '3' was given, but bool is needed"),
        (["pressure=1"], "pressure: only moving cells feel it; give --cell too."),
        (["callbacks=[Timeot]"], "callbacks.0: there is no 'Timeot' in ritz.callbacks"),
        (["save-time-interval=-1"], "save_time_interval must be at least 0, but -1.0 was given"),
        (["--config=e.yaml"], "e.yaml: fmx: there is no such setting; did you mean fmax?"),
    ],
)
def test_mistakes_are_one_line(ritz, arguments, message):
    Path("e.yaml").write_text("fmx: 0.1\n")
    status, out, error = ritz("relax", "two.extxyz", *MODEL, *arguments, "--dry-run")
    if message is None:
        assert status == 0 and "2 structures" in out
    else:
        assert status == 2 and error.startswith(f"ritz: {message}") and error.count("\n") == 1
    assert not Path("r").exists() and not Path("none").exists()


def test_names_of_files_may_look_like_settings(ritz):
    Path("two.extxyz").rename("a-b=c.extxyz")
    command = ["relax", "a-b=c.extxyz", *MODEL, "--fmax", "1", "--max-steps=3"]
    status, out, error = ritz(*command)
    assert status == 0 and "a-b=c.extxyz@1" in out, error
