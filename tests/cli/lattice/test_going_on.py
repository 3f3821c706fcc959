"""`ritz lattice` goes on with runs that have ended or were interrupted, and tells how they end."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from ritz.cli.main import main
from ritz.plotting import read_log
from tests.cli.lattice.runs import SMALL, ritz

pytestmark = pytest.mark.netket


@pytest.mark.medium
def test_a_run_that_was_stopped_early_is_extended(capsys):
    stopping = "train.callbacks=[{class_path: EarlyStopping, init_args: {patience: 1}}]"

    def trained(*arguments):
        status, out, error = ritz(capsys, "train", *SMALL, "folder=r", *arguments)
        assert status == 0, error
        return json.loads(Path("r/summary.json").read_text())["steps"], out

    first, out = trained(stopping, "train.iterations=60")
    assert first < 60 and "has ended" not in out
    again, out = trained(stopping, "train.iterations=60")
    assert again == first and out.startswith("the run has ended: stopped by EarlyStopping: mean ")
    assert "A larger train.iterations goes on.\n" in out
    longer, out = trained(stopping, "train.iterations=61")
    assert first < longer < 61
    told = f"the run went on from step {first} to step {longer}: stopped by EarlyStopping: mean "
    assert out.startswith(told)
    changed = "train.accept_changes=[callbacks]"
    assert trained(changed, "train.iterations=61")[0] == 61
    assert trained(changed, "train.iterations=61")[1].startswith("the run has ended: finished all")
    out = trained(changed, "train.iterations=7")[1]
    assert "train.iterations=7 is less than the 61 steps of the run, so that" in out
    assert "give more than 61 to go on, or another folder to begin anew.\n" in out
    assert trained("train.iterations=63")[0] == 63
    assert read_log("r")["Energy"].iters.tolist() == list(range(63))


@pytest.mark.medium
def test_an_extended_run_that_stops_where_it_had_stopped_is_told(capsys):
    Path("stop.py").write_text(
        "from ritz.callbacks import LambdaCallback\nfrom ritz.driver.stop import StopRun\n"
        "def stop() -> LambdaCallback:\n"
        "    def act(step, row, driver):\n"
        "        if step == 2:\n            raise StopRun('enough')\n"
        "    return LambdaCallback(before_parameter_update=act, live=False)\n"
    )
    outs = []
    for n in (12, 12, 20):
        status, out, error = ritz(
            capsys, "train", *SMALL, "train.callbacks=[stop.stop]", f"train.iterations={n}",
            "folder=r",
        )  # fmt: skip
        assert status == 0, error
        outs.append(out)
    assert re.match(r"energy +-4\.\d+ \+- [\d.]+, at the last step\npicture in", outs[0])
    assert re.match("the run has ended: stopped by .*enough. A larger train.iterations", outs[1])
    assert re.match(
        "the run went on, but ended again before the update of step 2: stopped by .*enough. To get "
        r"further, change train.callbacks and give train.accept_changes=\[callbacks\].\n", outs[2]
    )  # fmt: skip


@pytest.mark.medium
def test_a_frozen_sampler_gets_no_error_bar(capsys):
    Path("peaked.py").write_text(
        "import flax.linen as nn\nimport jax.numpy as jnp\n"
        "class Peaked(nn.Module):\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        weight = self.param('w', lambda key: jnp.asarray(50.0))\n"
        "        return weight * x.sum(-1)\n"
    )
    given = [*SMALL, "model=peaked.Peaked", "folder=r", "train.optimizer.learning_rate=0.0"]
    status, _, error = ritz(capsys, "train", *given)
    assert status == 0, error
    assert "acceptance" in json.loads(Path("r/summary.json").read_text())["suspect"]
    status, out, error = ritz(capsys, "evaluate", *given)
    assert status == 0 and re.match(r"energy +-[\d.]+ \(suspect: acceptance.*\)\n", out), out
    assert "acceptance" in json.loads(Path("r/summary.json").read_text())["suspect"]
    assert "+-" not in out and main(["status", "r"]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"energy +-[\d.]+ \(suspect: acceptance", said)) == 2, said


@pytest.mark.medium
def test_a_nan_ends_the_command_with_status_1(capsys, tmp_path):
    Path("bad.py").write_text(
        "import numpy as np\nfrom ritz.callbacks import LambdaCallback\n"
        "def spoil() -> LambdaCallback:\n"
        "    def act(step, row, driver):\n        row['x'] = np.nan if step == 2 else 0.0\n"
        "    return LambdaCallback(before_parameter_update=act, live=False)\n"
    )
    status, _, error = ritz(
        capsys, "train", *SMALL, "train.callbacks=[bad.spoil]", "train.stop_on_nan=x",
        f"folder={tmp_path / 'r'}",
    )  # fmt: skip
    assert (
        status == 1 and "stage train: stopped by InvalidLossStopping:x: x is nan at step 2" in error
    )


@pytest.mark.slow
def test_a_signal_saves_the_run_and_the_same_command_goes_on(tmp_path):
    command = [sys.executable, "-m", "ritz.cli.main", "lattice", "train", *SMALL[:4],
               "train.iterations=4000"]  # fmt: skip

    def start(folder):
        return subprocess.Popen([*command, f"folder={folder}"], stderr=subprocess.PIPE, text=True)

    whole, other = start("whole"), start("other")
    log = Path("other/train.csv")
    while not log.exists() or log.read_bytes().count(b"\n") < 20:
        time.sleep(0.02)
        assert other.poll() is None, other.stderr.read()
    os.kill(other.pid, signal.SIGTERM)
    error = other.communicate(timeout=60)[1]
    assert other.returncode == 143 and error.endswith("ritz: interrupted by SIGTERM\n")
    assert main(["status", "other"]) == 0
    again = start("other")
    assert again.communicate(timeout=120) and again.returncode == 0
    assert whole.communicate(timeout=120) and whole.returncode == 0
    first, second = (read_log(f)["Energy"] for f in ("whole", "other"))
    assert second.iters.tolist() == list(range(4000))
    np.testing.assert_array_equal(first["Mean"], second["Mean"])


@pytest.mark.medium
def test_the_folder_alone_goes_on_with_its_configuration(capsys, caplog):
    caplog.set_level(logging.INFO)
    assert ritz(capsys, "train", *SMALL, "train.optimizer.learning_rate=0.01", "folder=r")[0] == 0
    before = yaml.safe_load(Path("r/config.yaml").read_text())
    assert "There is no run in r: a new one begins" not in caplog.text  # a system was given
    for option in ("--dry_run", "--print_config"):  # with which none begins
        ritz(capsys, "train", "folder=s", "train.update=none", option)
    assert "There is no run in s" not in caplog.text
    ritz(capsys, "train", "folder=s", "train.update=none")
    assert "in s: a new one begins, with defaults for what is not given." in caplog.text
    status, out, error = ritz(capsys, "train", "folder=r", "progress=false")
    assert status == 0 and out.startswith("the run has ended: finished all steps."), error
    status, out, error = ritz(capsys, "train", "folder=r", "progress=false", "train.iterations=14")
    assert status == 0 and out.startswith("the run went on from step 12 to step 14: "), error
    before["train"]["iterations"] = 14
    assert yaml.safe_load(Path("r/config.yaml").read_text()) == before
    # A system begins anew, with defaults for all else, which do not suit this run.
    assert "optimizer" in ritz(capsys, "train", *SMALL, "folder=r", "train.iterations=15")[2]


@pytest.mark.medium
def test_an_evaluation_begins_anew_where_that_is_asked_for(capsys):
    assert ritz(capsys, "train", *SMALL, "folder=a")[0] == 0

    def evaluated(*arguments):
        status, out, error = ritz(capsys, "evaluate", *SMALL, "folder=a", *arguments)
        result = json.loads(Path("a/summary.json").read_text())
        return status, out + error, (result["steps"], result["energy"])

    def rows():
        return read_log("a/evaluate.log")["Energy"].iters.tolist()

    first = evaluated()[2]
    for changed in ("evaluate.n_samples=48", "seed=5"):
        status, told, result = evaluated(changed)
        assert status == 2 and result == first
        assert told.endswith("give --anew, which sets the saved run aside and begins anew.\n")
    assert evaluated("seed=5", "--anew", "--dry_run")[0] == 0 and evaluated()[2] == first
    seen = {first}
    for changed in ("evaluate.n_samples=48", "seed=5", "evaluate.burn_in=9"):
        status, told, result = evaluated(changed, "--anew")
        assert status == 0 and result[0] == 40 and result not in seen, told
        assert "went on" not in told and rows() == list(range(40))
        assert evaluated(changed)[2] == result  # it is the evaluation that goes on now
        seen.add(result)
    assert evaluated("evaluate.iterations=7", "seed=0", "--anew")[2][0] == 7
    assert rows() == list(range(7))
    aside = sorted(Path("a/set_aside").iterdir())
    assert len(aside) == 4
    for folder in aside:
        names = {path.name for path in folder.iterdir()}
        assert names >= {"00000040-end", "evaluate.log", "evaluate.csv", "digest.npz"}
        assert read_log(folder / "evaluate.log")["Energy"].iters.tolist() == list(range(40))
    status, out, error = ritz(capsys, "train", "folder=a", "train.iterations=14", "progress=false")
    assert status == 0 and "from step 12 to step 14" in out, error


@pytest.mark.medium
def test_an_evaluation_that_fails_at_once_leaves_no_older_result(capsys, monkeypatch):
    assert ritz(capsys, "train", *SMALL, "folder=a")[0] == 0
    energy = json.loads(Path("a/summary.json").read_text())["energy"]
    assert ritz(capsys, "evaluate", "folder=a", "progress=false")[0] == 0

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ritz.stages.EvaluationWorkStage.run", interrupted)
    assert ritz(capsys, "evaluate", "folder=a", "progress=false", "--anew")[0] == 130
    summary = json.loads(Path("a/summary.json").read_text())
    assert summary["evaluate"]["energy"] is None and summary["train"]["energy"] == energy
