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
import yaml

from ritz.cli.main import main
from ritz.cli.parts import Part
from ritz.plotting import read_log
from ritz.stages import read_digest

pytestmark = pytest.mark.netket

SMALL = ["system.extent=[4]", "train.n_samples=32", "train.burn_in=2", "progress=false",
         "train.iterations=12", "evaluate.iterations=40", "evaluate.n_samples=32"]  # fmt: skip


def ritz(capsys, *arguments):
    status = main(["lattice", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lattice") / "run"
    assert main(["lattice", "train", *SMALL, f"folder={folder}"]) == 0
    assert main(["lattice", "evaluate", "progress=false", f"folder={folder}"]) == 0
    return folder


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


def test_the_status_of_a_run(trained, capsys):
    assert main(["status", str(trained)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train\n +step +12 of 12\n +energy +-\d", said)
    assert "ended           finished all steps" in said
    assert re.search(r"last checkpoint step 12, \d+ s ago", said)
    assert re.search(r"evaluate\n +step +40 of 40", said)
    assert main(["status", "nowhere"]) == 2
    assert capsys.readouterr().err == "ritz: there is no run folder nowhere.\n"


def test_plot_knows_run_folders(trained, capsys):
    assert main(["plot", str(trained), "-o", "a.svg"]) == 0
    assert "<svg" in Path("a.svg").read_text()


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
    assert status == 2 and "is of another run: hilbert was" in error
    assert yaml.safe_load((folder / "config.yaml").read_text())["system"]["init_args"] == {
        "extent": [4]
    }
    # The wave function is another one now, so that an evaluation begins anew.
    old = read_digest(folder)["Energy"]
    assert ritz(capsys, "evaluate", "progress=false", f"folder={folder}")[0] == 0
    assert "evaluating anew" in caplog.text
    assert read_digest(folder)["Energy"].mean != old.mean
    assert read_log(folder / "evaluate.log")["Energy"].iters.tolist() == list(range(40))


def test_a_dry_run_builds_everything_and_writes_nothing(capsys):
    status, out, _ = ritz(capsys, "train", *SMALL, "--dry_run")
    assert status == 0 and "24 parameters, 12 steps; everything can be built" in out
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


def test_what_does_not_suit_the_space_or_cannot_be_compiled_gets_one_line(capsys):
    Path("rates.py").write_text(
        "def branching(start):\n    return lambda step: start if step < 10 else 0.01\n"
    )
    rate = "{class_path: rates.branching, init_args: {start: 0.1}}"
    for arguments, message in (
        (["system=Heisenberg", "system.extent=[4]", "train.sampler=MetropolisLocal"],
         "ritz: train.sampler: the space Spin(s=1/2, N=4, ordering=new, total_sz=0) is con"),
        (["train.optimizer=sgd", f"train.optimizer.learning_rate={rate}"],
         "ritz: train: optimizer: the function <lambda> ("),
        (["train.update=SR", f"train.update.diag_shift={rate}"],
         "ritz: train.update: diag_shift: the schedule branching.<locals>.<lambda> ("),
        (["train.sampler=MetropolisLocal", "train.sampler.n_chains=7", "train.n_samples=16"],
         "ritz: train: n_samples=16 cannot be shared equally by the 7 chains of the sampler; give "
         "n_samples=21"),
    ):  # fmt: skip
        status, _, err = ritz(capsys, "train", "system.extent=[4]", *arguments)
        assert status == 2 and err.startswith(message) and err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.iterations=x"], "train.iterations: 'x' was given, but int is needed"),
        (["train.iterations=-1"], "train.iterations must be a whole number of at least 0, but -1"),
        (["train.n_samples=0"], "train.n_samples must be a whole number of at least 1, but 0"),
        (["train.iteration=3"], "train.iteration: there is no such setting; did you mean train.it"),
        (["seed=1e30"], "seed must lie between -2.63 and 2.63 - 1, but 1"),
        (["model.alpha=.inf"], "train: cannot convert float infinity to integer"),
        (["train.update.solver=CG"], "train.update: solver must be a function"),
        (["nosuch=3"], r"nosuch: there is no such setting; there are: folder, seed, system, mod"),
        (["sytem.extent=[4]"], r"did you mean system.extent\? \(see ritz lattice train --help\)$"),
        (["trian.iterations=3"], r"trian.iterations: .*; did you mean train.iterations\? \(see"),
        (["tran.optimizr.learning_rate=3"], r"did you mean train.optimizer.learning_rate\?"),
        (["iteratons=3"], r"did you mean train.iterations or evaluate.iterations\?"),
        (["train.nosuch=3"], "train.nosuch: there is no such setting; train has: burn_in, n_samp"),
        (["train.optimizer=optax.adm"], "train.optimizer: there is no 'adm' in optax; did you mea"),
        (["train.optimizer=print"], "train.optimizer: there is no 'print' in optax; give the name "
         "of an optimiser of optax, such as adam, adamw, lion or sgd, or the class path of a fun"),
        (["train.optimizer=optax.SGD"], "there is no 'SGD' in optax; did you mean sgd or "),
        (["train.optimizer=builtins.print"], "of Python's own modules .*; give the name of an op"),
        (["train.optimizer=netket.graph.Chain"], "Chain returns Lattice, but .*; give the name of"),
        (["train.optimizer=adam", "train.optimizer.rate=3"],
         "train.optimizer.rate: adam has no such argument; it takes: learning_rate, b1"),
        (["train.optimizer.learning_rate=abc"], "learning_rate: 'abc' was given, but float"),
        (["train.update=SRR"], "train.update: there is no 'SRR' in ritz.updates; did you mean SR"),
        (["train.update.diag_shift=-1"], "train.update: diag_shift must be at least 0, but -1"),
        (["train.sampler.n_chains=3"], "train.sampler.n_chains: it is not set; give its class"),
        (["train.callbacks.0.patience=3"], "train.callbacks has 0 entries, counted from 0"),
        (["system=math.sqrt", "system.x=3"], "system: 'math.sqrt' is refused: configurations call"),
        (["system=os.system", "system.command=touch called"], "system: 'os.system' is refused"),
        (["train.optimizer={class_path: os.system, init_args: {command: touch called}}"],
         "train.optimizer: 'os.system' is refused"),
        (["train={class_path: subprocess.Popen, init_args: {args: [touch, called]}}"],
         "train.class_path: there is no such setting"),
        (["train.callbacks=[{class_path: LambdaCallback, init_args: {on_run_start: {class_path: "
          "os.system}}}]"], "train.callbacks.0.on_run_start: 'os.system' is refused"),
        (["model=RuntimeLog"], "model: there is no 'RuntimeLog' in netket.models"),
        (["model=netket.logging.RuntimeLog"], "model: a flax module is needed, but netket.logging"),
        (["train.sampler=netket.graph.Chain"], "sampler: netket.graph.Chain returns Lattice, but"),
        (["system.extent=[3.5]"], "system: extent takes the sizes of a lattice"),
        (["model=collections.OrderedDict"], "model: 'collections.OrderedDict' is refused"),
        (["train.optimizer.learning_rate=-0.1"], "learning_rate must be a finite number of at le"),
        (["train.optimizer.learning_rate=.nan"], "learning_rate must be a finite number of at le"),
        (["train.save_time_interval=-2"], "train.save_time_interval must be at least 0 seconds"),
        (["--config", "none.yaml"], "config: none.yaml cannot be read: No such file or directory"),
        (["train.optimizer={class_path: 3}"], "train.optimizer.class_path: 3 was given, but a na"),
        (["train.optimizer.learning_rate"], "learning_rate|unrecognized|train.optimizer"),
    ],
)  # fmt: skip
def test_bad_values_get_one_line(capsys, arguments, message):
    status, _, error = ritz(capsys, "train", *SMALL, *arguments, "--dry_run")
    assert status == 2 and re.search(message, error), error
    assert error.startswith("ritz: ") and error.count("\n") == 1
    assert not Path("runs").exists() and not Path("called").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {iterations: [}", "c.yaml is no YAML: while parsing a flow node"),
        ("train: {iteration: 3}", "c.yaml: train.iteration: there is no such setting; did you me"),
        ("nosuch: 3", "c.yaml: nosuch: there is no such setting; there are: folder, seed, system"),
        ("sytem: {class_path: Heisenberg}", r"c.yaml: sytem: .*; did you mean system\?"),
        ("optimizer: sgd", r"c.yaml: optimizer: .*; did you mean train.optimizer\?"),
        ("train: {nosuch: 3}", "c.yaml: train.nosuch: .*; train has: burn_in, n_samples"),
        ("train: 7", r"c.yaml: train: 7 was given, .*, such as train: {iterations: 500}"),
        ("- 3", r"c.yaml: settings .*, such as seed: 0, but \[3\] was given"),
        ("train: {iterations: abc}", "train.iterations: 'abc' was given, but int is needed"),
        ("train: {optimizer: {class_path: a.b, rate: 1}}",
         "c.yaml: train.optimizer: rate stands beside class"),
        ("train: {callbacks: [{class_path: EarlyStopping, init_args: {patienc: 3}}]}",
         "train.callbacks.0.patienc: EarlyStopping .*; did you mean train.callbacks.0.patience"),
    ],
)  # fmt: skip
def test_bad_files_get_one_line(capsys, content, message):
    Path("c.yaml").write_text(content)
    status, _, error = ritz(capsys, "train", "--config", "c.yaml", "--dry_run")
    assert status == 2 and re.search(message, error), error
    assert error.count("\n") == 1


def test_an_evaluation_needs_a_training(capsys):
    status, _, error = ritz(capsys, "evaluate", "folder=empty")
    assert status == 2 and "run `ritz lattice train folder=empty` first" in error
    status, _, error = ritz(capsys)
    assert status == 2
    assert error == "ritz: give a command: train, evaluate (see ritz lattice --help)\n"


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
    assert "train.iterations=7 is less than the 61 steps that the run was given before" in out
    assert "give more than 61 to go on, or another folder to begin anew.\n" in out
    assert trained("train.iterations=63")[0] == 63
    assert read_log("r")["Energy"].iters.tolist() == list(range(63))


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
    assert outs[0].startswith("picture in")
    assert re.match("the run has ended: stopped by .*enough. A larger train.iterations", outs[1])
    assert re.match(
        "the run went on, but ended again before the update of step 2: stopped by .*enough. To get "
        r"further, change train.callbacks and give train.accept_changes=\[callbacks\].\n", outs[2]
    )  # fmt: skip


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


def test_completion_can_be_printed():
    done = subprocess.run(
        [sys.executable, "-m", "ritz.cli.main", "--print_completion=shtab-bash"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "train.iterations" in done.stdout and "complete" in done.stdout


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
