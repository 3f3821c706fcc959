"""YAML that would not end, or that Python cannot hold."""

import time
from pathlib import Path

import pytest
import yaml

from ritz.cli.main import main
from ritz.cli.settings.yaml_limits import check_yaml

LAUGHS = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)

BAD = {
    "deep": ("[" * 100_000, "is nested too deeply: at most 50 levels are read"),
    "deep and closed": ("[" * 60 + "]" * 60, "is nested too deeply: at most 50 levels are read"),
    "deep mappings": ("{a: " * 1000, "is nested too deeply"),
    "aliases": (LAUGHS, "has too many values: at most 1000000 are read, and those that an alias"),
    "circle": ("&a [1, *a]", "[*]a stands within itself"),
    "long": ("# " + "x" * (11 * 2**20), "a configuration has at most 10 MiB, but this one has 11"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case, capsys):
    text, message = BAD[case]
    start = time.perf_counter()
    with pytest.raises(ValueError, match=f"name:? {message}"):
        check_yaml(text, "name")
    Path("c.yaml").write_text(text)
    assert main(["lattice", "train", "--config", "c.yaml", "--dry_run"]) == 2
    assert capsys.readouterr().err.startswith("ritz: c.yaml")
    assert time.perf_counter() - start < 5


def test_what_passes():
    check_yaml("a: &x [1, {b: 2}]\nc: *x\nd: " + "[" * 48 + "]" * 48, "name")
    check_yaml("no: yaml: [", "name")
    assert len(yaml.safe_load(LAUGHS)) == 9  # a few kilobytes, until somebody walks through it


@pytest.mark.parametrize("setting", ["train.callbacks=", "train.iterations=", "system.extent="])
def test_deep_values_on_the_command_line(setting, capsys):
    assert main(["lattice", "train", setting + "[" * 5000, "--dry_run"]) == 2
    error = capsys.readouterr().err
    assert "nested too deeply" in error and error.count("\n") == 1 and len(error) < 300


def test_what_is_no_text(capsys):
    Path("c.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert main(["lattice", "train", "--config", "c.yaml", "--dry_run"]) == 2
    assert capsys.readouterr().err.startswith("ritz: c.yaml is no text")
