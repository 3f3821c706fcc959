"""However a setting is spelt, it means the same; wrong ones are told with what is allowed."""

import re
from pathlib import Path

import pytest

from ritz.cli.lattice.config import LatticeRun
from ritz.cli.main import main
from ritz.cli.mlip.config import MLIPRun
from ritz.cli.settings.config_file import with_checked_files
from ritz.cli.settings.parts import part_fields
from ritz.cli.settings.spelling import normalised, underscored, whole_numbers
from ritz.cli.settings.suggestions import groups
from ritz.cli.settings.yaml_text import load_yaml
from ritz.stages.parts import find


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-3", 1e-3), ("1E5", 1e5), ("-1e3", -1e3), ("+.5e2", 50.0), ("1.5", 1.5), ("1.", 1.0),
        ("1e+300", 1e300), ("1.0e-3", 1e-3), (".inf", float("inf")), ("1", 1), ("0x1f", 31),
    ],
)  # fmt: skip
def test_numbers_of_yaml(text, number):
    found = load_yaml(text)
    assert found == number and type(found) is type(number)


@pytest.mark.parametrize("text", ["1e", "e3", "1e3x", "1.2.3", "nan", "."])
def test_what_is_no_number_stays_text(text):
    assert load_yaml(text) == text


@pytest.mark.parametrize("text", ["[", "2026-13-45", "a: b: c", "[" * 1500])
def test_what_is_no_yaml_is_one_line(text):
    with pytest.raises(ValueError, match="^is no YAML: ") as refused:
        load_yaml(text)
    assert "\n" not in str(refused.value)


def test_dashes_are_underscores_in_names_only():
    given = ["train", "--dry-run", "--config", "my-file.yaml", "--config=my-file.yaml",
             "train.save-step-interval=3", "--train.save-step-interval", "3", "folder=a-b",
             "--folder", "a-b=c", "--print-config", "-o", "x-y"]  # fmt: skip
    assert underscored(given, bare=True) == [
        "train", "--dry_run", "--config", "my-file.yaml", "--config=my-file.yaml",
        "train.save_step_interval=3", "--train.save_step_interval", "3", "folder=a-b",
        "--folder", "a-b=c", "--print_config", "-o", "x-y",
    ]  # fmt: skip
    assert underscored(["relax", "a-b=c.cif"], bare=False) == ["relax", "a-b=c.cif"]


def test_whole_numbers_may_have_an_exponent():
    given = ["--train.iterations=1e5", "--train.chunk_size", "1e3",
             "--train.save_time_interval=1e1", "--folder=1e3", "--train.iterations=1.5e0",
             "--seed=12"]  # fmt: skip
    assert whole_numbers(given, LatticeRun) == [
        "--train.iterations=100000", "--train.chunk_size", "1000",
        "--train.save_time_interval=1e1", "--folder=1e3", "--train.iterations=1.5e0", "--seed=12",
    ]  # fmt: skip


def test_files_are_spelt_as_freely():
    text = """
    train:
      save-step-interval: 1e1
      update: {class-path: SR, init-args: {diag-shift: 1e-3, solver: {class-path: a.b}}}
    """
    assert normalised(load_yaml(text), LatticeRun) == {
        "train": {
            "save_step_interval": 10,
            "update": {
                "class_path": "SR",
                "init_args": {"diag_shift": 1e-3, "solver": {"class_path": "a.b"}},
            },
        }
    }
    Path("c.yaml").write_text(text)
    for given in (["--config", "c.yaml"], ["--config=c.yaml"]):
        found = with_checked_files([*given, "--seed=1"], LatticeRun)
        assert found[0] == "--config" and found[2:] == ["--seed=1"]
        assert load_yaml(found[1])["train"]["save_step_interval"] == 10


@pytest.mark.netket
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("system=kagome", "there are: Heisenberg, "),
        ("train.chunk_size=x", "train.chunk_size: 'x' was given, but int or null is needed"),
        ("train.n_samples=100.0", "but int is needed; write 100"),
        ("train.n_samples=1.5e0", "train.n_samples: '1.5' was given, but int is needed (see"),
        ("train.optimizer=zzzq", "such as adam, adamw, lion or sgd, or the class path of a"),
    ],
)
def test_what_is_allowed_is_told(argument, message, capsys):
    assert main(["lattice", "train", "system.extent=[4]", argument, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.netket
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("learning_rte=1", "learning_rte: there is no such setting; did you mean train.optim"),
        ("train.system.extent=[4]", "train.system.extent: .*; did you mean system.extent[?]"),
        ("field=2", "did you mean system.field[?]"),
        ("system.extnt=[4]", "system.extnt: TransverseIsing has no .*; did you mean system.extent"),
        ("--dry-rn", "dry_rn: there is no such setting; did you mean --dry_run[?]"),
        ("train.=3", "train.: a word is missing .*; train is a group .* train.iterations=500[.]"),
        (".train=3", ".train: a word is missing .*; train is a group .* train.iterations=500[.]"),
        ("train..iterations=5", "train..iterations: a word is missing .*; write train.iterations="),
        ("train..iteratons=5", "train..iteratons: a word is missing .*; did you mean train.iterat"),
        ("train.update.=5", "train.update.: a word is missing .* as train.update.ARGUMENT=VALUE"),
        ("train=5", "train: '5' was given, but train is a group .*, such as train.iterations=500"),
        (f"train={'x' * 9000}", "train: 'xxx.* [.]{3} was given, but train is a group of settings"),
        ("train=null", "train: 'null' was given, but train is a group of settings; give one"),
        ("train", "'train' was given, but settings are written as NAME=VALUE, such as train.it"),
        ("train={iteratons: 5}", "train.iteratons: there is no such setting; did you mean tr"),
        ("train.sampler={n_chains: 3}", "class_path is missing beside n_chains; write, for example"
         ", {class_path: MetropolisLocal, init_args: {n_chains: 3}}"),
        ("train.loggers={path: a}", r"list is needed, such as \[{class_path: CSVLog, init_args: "),
        ("train.loggers.0.path=a", "train.loggers.0.path: train.loggers is not set; give"),
    ],
)  # fmt: skip
def test_what_was_meant_is_suggested(argument, message, capsys):
    assert main(["lattice", "train", argument, "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert re.match(f"ritz: .*{message}", told) and told.count("\n") == 1, told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.iterations: 5", "train.iterations: .* nested; write train: {iterations: 5}[.]$"),
        ("train: {save-step.interval: 5}", "train.save_step.interval: there is no such setting"),
        ("train: {update.diag-shift: 5}", "train.update.diag_shift: names .*; write train: "
         "{update: {class_path: SR, init_args: {diag_shift: 5}}}[.]$"),
        ("train.callbacks.0.patience: 3", "; write train: {callbacks: .{class_path: EarlyStopping, "
         "init_args: {patience: 3}}.}[.]$"),
        ("train.optimizer.class_path: adam", "; write train: {optimizer: adam}[.]$"),
        ("train.: {iterations: 5}", "; write train: {iterations: 5}[.]$"),
        ("train:", "train: nothing was given, but train is a group of .* train: {iterations: 500}"),
        ("system: {extent: [5]}", "system: class_path is missing beside extent; write, for "
         "example, {class_path: TransverseIsing, init_args: {extent: .5.}}[.]$"),
        ("train: {update: {diag-shft: 1}}", "train.update: class_path is missing .*class_path: SR"),
        ("model: {class_pth: RBM}", "model.class_pth: there is no such key; did you mean class"),
        ("model: {class_path: RBM, alpha: 1}", "alpha stands beside class_path, but .*; write "
         "{class_path: RBM, init_args: {alpha: 1}}[.]$"),
        ("model: {class_path: RBM, init_args: 3}", "model.init_args: 3 was given, but names with"),
        ("model: 3", "model: 3 was given, but the name of a class .*, such as RBM, or with arg"),
        ("train: {callbacks: EarlyStopping}", r"a list is needed, such as .EarlyStopping.[.]$"),
        ("train: {loggers: [{path: a}]}", "train.loggers.0: class_path is missing .*: CSVLog, in"),
    ],
)  # fmt: skip
def test_mistakes_of_form_in_files_are_told_with_what_to_write(text, message):
    Path("c.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"^c.yaml: .*{message}") as refused:
        with_checked_files(["--config", "c.yaml"], LatticeRun)
    assert "\n" not in str(refused.value)


@pytest.mark.netket
@pytest.mark.parametrize("kind", [LatticeRun, MLIPRun])
def test_what_messages_tell_to_write_can_be_written(kind):
    for part in part_fields(kind):
        word = part.rpartition(".")[2]
        assert callable(find(part, kind.examples[word], kind.contracts[word]))
    for group in groups(kind):
        setting, _, value = kind.examples[group].partition("=")
        Path("c.yaml").write_text(f"{group}: {{{setting}: {value}}}")
        with_checked_files(["--config", "c.yaml"], kind)
