"""What `ritz lattice` says of mistakes."""

import re
from pathlib import Path

import pytest

from tests.cli.lattice.runs import SMALL, ritz

pytestmark = pytest.mark.netket


@pytest.mark.medium
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


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.iterations=x"], "train.iterations: 'x' was given, but int is needed"),
        (["train.iterations=-1"], "train.iterations must be a whole number of at least 0, but -1"),
        (["train.n_samples=0"], "train.n_samples must be a whole number of at least 1, but 0"),
        (["evaluate.n_samples=0"], "evaluate.n_samples must be a whole number of at least 1, but"),
        (["evaluate.sampler=Nosuch"], "evaluate.sampler: there is no 'Nosuch' in "),
        (["train.iteration=3"], "train.iteration: there is no such setting; did you mean train.it"),
        (["seed=1e30"], "seed must lie between -2.63 and 2.63 - 1, but 1"),
        (["system.field=null"], "system.field: null was given, but float is needed"),
        (["model.alpha=.inf"], "model: alpha must be a whole number of at least 0, but inf"),
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
        (["train.update=SRR"], "there is no 'SRR' in ritz.updates.*; did you mean SR"),
        (["train.update.n_samples=5"], "train.update.n_samples follows from the run; leave it out"),
        (["system.extent=[100]", "train.full_sum=true"], "train.full_sum: Spin.* too many states"),
        (["train.update.diag_shift=-1"], "train.update: diag_shift must be at least 0, but -1"),
        (["train.sampler.n_chains=3"], "train.sampler.n_chains: train.sampler is not set; give"),
        (["train.callbacks.0.patience=3"], "train.callbacks has 0 entries, counted from 0"),
        (["system=math.sqrt", "system.x=3"], "system: 'math.sqrt' is refused: configurations call"),
        (["system=os.system", "system.command=touch called"], "system: 'os.system' is refused"),
        (["train.optimizer={class_path: os.system, init_args: {command: touch called}}"],
         "train.optimizer: 'os.system' is refused"),
        (["train={class_path: subprocess.Popen, init_args: {args: [touch, called]}}"],
         "train.class_path: there is no such setting"),
        (["train.callbacks=[{class_path: LambdaCallback, init_args: {on_run_start: {class_path: "
          "os.system}}}]"], "train.callbacks.0.on_run_start: 'os.system' is refused"),
        (["model=RuntimeLog"], "model: there is no 'RuntimeLog' in ritz.lattice.models, netket"),
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


@pytest.mark.medium
def test_an_evaluation_needs_a_training(capsys):
    status, _, error = ritz(capsys, "evaluate", "folder=empty")
    assert status == 2 and "run `ritz lattice train folder=empty` first" in error
    status, _, error = ritz(capsys)
    assert status == 2
    assert error == "ritz: give a command: train, evaluate (see ritz lattice --help)\n"
