"""`ritz lattice`: run folders, settings and parts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ritz.cli.main import main
from ritz.cli.settings.parts import Part
from ritz.plotting import read_log
from ritz.stages import read_digest
from tests.cli.lattice.runs import SMALL, ritz

pytestmark = pytest.mark.netket


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lattice") / "run"
    assert main(["lattice", "train", *SMALL, f"folder={folder}"]) == 0
    assert main(["lattice", "evaluate", "progress=false", f"folder={folder}"]) == 0
    return folder


@pytest.mark.medium
def test_a_run_folder_holds_everything(trained):
    assert {p.name for p in trained.iterdir()} == {
        "config.yaml", "run.lock", "checkpoints", "energy.png", "summary.json", "digest.npz",
        "train.log", "train.csv", "train.mpack", "evaluate.log", "evaluate.csv", "evaluate.mpack",
    }  # fmt: skip
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["train"]["iterations"] == 12 and config["evaluate"]["iterations"] == 40
    assert config["system"]["init_args"] == {"extent": [4]}
    assert (trained / "energy.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((trained / "summary.json").read_text())
    energy = read_digest(trained)["Energy"]
    assert summary["energy"] == energy.mean and summary["error"] == energy.error
    assert summary["exact"] == pytest.approx(-5.226251859505506)
    assert abs(energy.mean - summary["exact"]) < 2
    assert summary["result_of"] == "evaluate" and summary["finite"] is True
    for command, steps in (("train", 12), ("evaluate", 40)):
        told = summary[command]
        assert told["steps"] == steps and told["seconds"] > 0 and told["error"] > 0
        assert told["stop_reason"] == "FINISHED" and told["message"] == "finished all steps"
    assert read_log(trained)["Energy"].iters.tolist() == list(range(12))


@pytest.mark.medium
def test_the_status_of_a_run(trained, capsys):
    assert main(["status", str(trained)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train\n +step +12 of 12\n +energy +-\d", said)
    assert "ended           finished all steps" in said
    assert re.search(r"last checkpoint step 12, \d+ s ago", said)
    whole = read_digest(trained)["Energy"]  # of all steps, not of the last one
    shown = f"{whole.mean:.8g}"
    assert re.search(rf"evaluate\n +step +40 of 40\n +energy +{shown} \+- ", said), said
    assert main(["status", "nowhere"]) == 2
    assert capsys.readouterr().err == "ritz: there is no run folder nowhere.\n"


def test_plot_knows_run_folders(trained, capsys):
    assert main(["plot", str(trained), "-o", "a.svg"]) == 0
    assert "<svg" in Path("a.svg").read_text()


@pytest.mark.medium
def test_a_changed_configuration_is_noted(trained, tmp_path, capsys, caplog):
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(trained), str(folder)], check=True)
    before = (folder / "config.yaml").read_text()
    longer = ["train.iterations=15", f"folder={folder}"]
    (folder / "train.csv").unlink()  # the other log has its rows
    assert ritz(capsys, "train", *SMALL, *longer)[0] == 0
    assert "train.csv is gone; it was rebuilt from" in caplog.text
    assert read_log(folder / "train.csv")["Energy"].iters.tolist() == list(range(15))
    assert "The configuration has changed: train.iterations was 12, is 15" in caplog.text
    kept = (folder / "config_history" / "001.yaml").read_text()
    assert kept.endswith(before) and "train.iterations was 12, is 15" in kept
    assert read_log(folder)["Energy"].iters.tolist() == list(range(15))
    # The same again: nothing is left to do, and nothing has changed.
    rows = (folder / "train.csv").read_bytes()
    assert ritz(capsys, "train", *SMALL, *longer)[0] == 0
    assert (folder / "train.csv").read_bytes() == rows
    assert len(list((folder / "config_history").iterdir())) == 1
    # A configuration that does not fit is refused, and the folder stays as it was.
    status, _, error = ritz(capsys, "train", *SMALL, *longer, "system.extent=[6]")
    assert status == 2 and error == (
        f"ritz: {folder} holds another run. Settings that differ: system.init_args.extent.0 was 4, "
        "is 6. What its checkpoint says: hilbert was Spin(s=1/2, N=4, ordering=new), is "
        "Spin(s=1/2, N=6, ordering=new); hamiltonian differs; observables.magnetisation_x differs; "
        "model.extent.0 was 4, is 6; and 7 more. Use the settings of that run "
        f"(--config {folder}/config.yaml), or another folder to begin anew.\n"
    )
    assert yaml.safe_load((folder / "config.yaml").read_text())["system"]["init_args"] == {
        "extent": [4]
    }
    # So is another seed, which would change nothing.
    status, _, error = ritz(capsys, "train", *SMALL, *longer, "seed=4")
    assert status == 2 and error == (
        f"ritz: seed: the run in {folder} began with seed=0, and goes on with its random numbers, "
        "but the seed is 4 now. Give seed=0, or another folder to begin anew.\n"
    )
    # The wave function is another one now, so that an evaluation begins anew.
    old = read_digest(folder)["Energy"]
    assert ritz(capsys, "evaluate", "progress=false", f"folder={folder}")[0] == 0
    assert "evaluating anew" in caplog.text
    assert read_digest(folder)["Energy"].mean != old.mean
    assert read_log(folder / "evaluate.log")["Energy"].iters.tolist() == list(range(40))


def test_a_dry_run_builds_everything_and_writes_nothing(capsys):
    status, out, _ = ritz(capsys, "train", *SMALL, "--dry_run")
    assert status == 0 and "14 parameters, 12 steps; everything can be built" in out
    status, out, _ = ritz(capsys, "evaluate", *SMALL, "--dry_run")
    assert status == 0 and "evaluate: " in out
    assert list(Path().iterdir()) == []


def test_the_printed_configuration_is_the_configuration(capsys):
    changes = ["train.optimizer=adam", "train.optimizer.learning_rate=0.01", "seed=3",
               "train.callbacks=[EarlyStopping]", "train.callbacks.0.patience=7"]  # fmt: skip
    status, out, _ = ritz(capsys, "train", *changes, "--print_config")
    config = yaml.safe_load(out)
    assert status == 0 and config["seed"] == 3
    assert config["train"]["optimizer"] == {
        "class_path": "adam", "init_args": {"learning_rate": 0.01},
    }  # fmt: skip
    assert config["train"]["callbacks"] == [
        {"class_path": "EarlyStopping", "init_args": {"patience": 7}}
    ]
    Path("c.yaml").write_text(out)
    _, again, _ = ritz(capsys, "train", "--config", "c.yaml", "--print_config")
    assert again == out
    _, changed, _ = ritz(capsys, "train", "--config", "c.yaml", "seed=4", "--print_config")
    assert changed == out.replace("seed: 3", "seed: 4")


@pytest.mark.medium
def test_parts_of_all_kinds_can_be_named(capsys, tmp_path):
    Path("mine.py").write_text(
        "from ritz.lattice.systems import Heisenberg, LatticeSystem\n"
        "def ladder(length) -> LatticeSystem:\n    return Heisenberg([length], sign_rule=True)\n"
    )
    status, _, err = ritz(
        capsys, "train", "system=mine.ladder", "system.length=4", "model=Jastrow",
        "train.sampler=MetropolisExchange", "train.sampler.n_chains=16", "train.n_samples=16",
        "train.update=MinSR", "train.optimizer=optax.adam",
        "train.optimizer.learning_rate={class_path: optax.linear_schedule, init_args: "
        "{init_value: 0.01, end_value: 0.001, transition_steps: 3}}",
        "train.optimizer.learning_rate.end_value=0.002",
        "train.loggers=[{class_path: HDF5Log, init_args: {path: rows}}]", "train.iterations=3",
        "train.callbacks=[BestState, {class_path: Timeout, init_args: {total: 100}}]",
        "progress=false", f"folder={tmp_path / 'r'}", "train.burn_in=1",
    )  # fmt: skip
    assert status == 0, err
    assert read_log("r/rows.h5")["Energy"].iters.tolist() == [0, 1, 2]
    assert "end_value: 0.002" in Path("r/config.yaml").read_text()


def test_completion_can_be_printed():
    done = subprocess.run(
        [sys.executable, "-m", "ritz.cli.main", "--print_completion=shtab-bash"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "train.iterations" in done.stdout and "complete" in done.stdout


@pytest.mark.slow
def test_two_processes_of_a_slurm_job(trained):
    def launch(command):
        job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost",
               "SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"}  # fmt: skip
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "ritz.cli.main", "lattice", command, "--distributed",
                 *SMALL, "folder=both"],
                env={**os.environ, **job, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank in "01"
        ]  # fmt: skip
        said = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        return [out for out, _ in said]

    first, second = launch("train")
    assert "everything in both" in first and "everything" not in second
    assert read_log("both")["Energy"].iters.tolist() == list(range(12))
    launch("evaluate")
    energy = read_digest("both")["Energy"]
    assert energy.n_samples == 40 * 32 and 0.8 < energy.r_hat < 1.2


def test_parts():
    part = Part.parse("{class_path: a.B, init_args: {c: {class_path: d.E}}}")
    assert part == Part("a.B", {"c": {"class_path": "d.E"}})
    changed = part.with_argument(["c", "f"], 3)
    assert changed.init_args["c"] == {"class_path": "d.E", "init_args": {"f": 3}}
    assert part.init_args == {"c": {"class_path": "d.E"}}
    assert Part.parse("a.B") == Part("a.B") and repr(changed).startswith("a.B(c=")
