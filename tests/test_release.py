"""What a release says of itself agrees with the sources."""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import ritz
from ritz.extras import needed_extra
from tools import release_check

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_versions_are_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == ritz.__version__
    assert PROJECT["version"] == ritz.__version__


def test_the_oldest_python_is_the_first_of_the_classifiers():
    text = "Programming Language :: Python :: "
    named = [c.removeprefix(text) for c in PROJECT["classifiers"] if c.startswith(f"{text}3.")]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert named == sorted(named, key=lambda version: int(version[2:]))


def test_release_check_is_told_of_all_of_them():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.search(r'release-check PYTHONS="([^"]+)"', page)[1].split()
    text = "Programming Language :: Python :: 3."
    classified = [c.removeprefix(text) for c in PROJECT["classifiers"] if c.startswith(text)]
    assert named == [f"python3.{minor}" for minor in classified]


def test_every_extra_that_a_message_names_exists():
    from ritz.extras import _EXTRAS

    extras = PROJECT["optional-dependencies"]
    for module in _EXTRAS:
        name = needed_extra(module).removeprefix("ritz[").removesuffix("]")
        assert name in extras, module


def test_all_has_every_extra_but_those_of_developers_and_of_services():
    extras = PROJECT["optional-dependencies"]
    (whole,) = extras["all"]
    named = whole.removeprefix("ritz[").removesuffix("]").split(",")
    assert set(extras) - set(named) == {"all", "dev", "docs", "mlflow", "test", "wandb"}


def test_an_interpreter_that_is_missing_is_a_row_of_the_table(tmp_path, monkeypatch, capsys):
    call = release_check._call

    def called(command, place):
        if "python9" in str(command[0]):
            return call(command, place)
        return subprocess.CompletedProcess(command, 0, "ritz==1.0\n", "")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(release_check, "_call", called)
    monkeypatch.setattr(release_check, "_built", lambda folder: (Path("ritz.whl"), []))
    monkeypatch.setattr(sys, "argv", ["release_check", "python3", "./python9.9", sys.executable])
    assert release_check.main() == 1
    told = capsys.readouterr().out
    assert told.count("environment ok, install ok, help ok") == 2
    assert "  environment FAILED\n" in told and "python9.9: No such file" in told
    assert not list(tmp_path.iterdir())
