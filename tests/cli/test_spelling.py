"""However a setting is spelt, it means the same; wrong ones are told with what is allowed."""

from pathlib import Path

import pytest

from ritz.cli.config_file import with_checked_files
from ritz.cli.lattice_config import LatticeRun
from ritz.cli.main import main
from ritz.cli.spelling import normalised, underscored, whole_numbers
from ritz.cli.yaml_text import load_yaml


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
