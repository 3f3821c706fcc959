"""Plug-ins of installed packages: found by name, and run only when they are named."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ritz.cli.main import main
from ritz.loggers import RuntimeLog
from ritz.plugins import Plugin, load, plugins
from ritz.stages import Config
from ritz.stages.contracts import CALLBACK, WRITER
from ritz.stages.parts import make
from ritz.testing import QuadraticDriver
from tests.installed import install

CALLBACKS = """
from pathlib import Path

from ritz.callbacks import AbstractCallback

Path("imported").touch()


class Counting(AbstractCallback):
    logs = ("counted",)
    def __init__(self, by: int = 1):
        self.by = by

    def before_parameter_update(self, step, log_data, driver):
        log_data["counted"] = self.by * (step + 1)


class Needy(Counting):
    check_arguments = {"by": 2}

    def __init__(self, by):
        super().__init__(by)


class Secretive(Needy):
    check_arguments = {}


class Stranger:
    pass
"""

OFFERED = {
    "Counting": "counting_plugin:Counting",
    "Needy": "counting_plugin:Needy",
    "Secretive": "counting_plugin:Secretive",
    "Stranger": "counting_plugin:Stranger",
    "Gone": "counting_plugin:Gone",
    "EarlyStopping": "counting_plugin:Counting",
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    offers = {"callbacks": OFFERED}
    install(monkeypatch, tmp_path / "site", "counting", {"counting_plugin": CALLBACKS}, offers)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)  # of checks


def test_what_is_installed_is_listed_and_not_imported(installed, capsys):
    assert (
        Plugin("callbacks", "Counting", "counting_plugin:Counting", "counting", "1.0") in plugins()
    )
    assert main(["plugins", "--kind=callbacks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "name", "package", "version", "check"]
    assert lines[1].split()[:4] == ["callbacks", "Counting", "counting", "1.0"]
    assert "not run" in lines[1] and len(lines) == 1 + len(OFFERED)
    hidden = [line for line in lines if "hidden" in line]
    assert [line.split()[1] for line in hidden] == ["EarlyStopping"]
    assert hidden[0].endswith("; hidden, since Ritz has this name: give counting_plugin:Counting")
    assert main(["plugins", "Needy"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["plugins", "Nedy"]) == 2
    assert "no installed plug-in is called 'Nedy'; there are: Counting, " in capsys.readouterr().err
    assert main(["plugins", "--kind=callback"]) == 2
    assert "there are no plug-ins called 'callback', but callbacks, " in capsys.readouterr().err
    assert not Path("imported").exists()


def test_a_name_is_enough_in_configurations(installed):
    made = make("callbacks", {"class_path": "Counting", "init_args": {"by": 3}}, takes=CALLBACK)
    (other,) = Config({"callbacks": ["Counting"]}).made_list("callbacks", CALLBACK)
    log, driver = RuntimeLog(), QuadraticDriver()
    driver.run(2, out=log, callback=made, show_progress=False)
    assert log.data["counted"].values.tolist() == [3, 6]
    assert type(made) is type(other) is load("callbacks", "Counting")
    found = make("callbacks", "EarlyStopping", takes=CALLBACK)
    assert type(found).__module__.startswith("ritz.")  # those of Ritz come first


@pytest.mark.parametrize(
    ("name", "takes", "message"),
    [
        ("Countin", CALLBACK, "no installed plug-in has this name; did you mean Counting"),
        ("Counting", WRITER, "there is no 'Counting' in ritz.loggers, and no installed plug-in"),
        ("Stranger", CALLBACK, "a callback is needed, but Stranger is another class"),
        (
            "Gone",
            CALLBACK,
            "x: the plug-in Gone of counting 1.0 cannot be loaded from counting_plu",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(installed, name, takes, message):
    with pytest.raises(ValueError, match=message) as raised:
        make("x", name, takes=takes)
    assert "\n" not in str(raised.value)


def test_of_two_packages_with_one_name_the_path_is_needed(installed, tmp_path, monkeypatch):
    offers = {"callbacks": {"Counting": "second_plugin:Counting"}}
    install(monkeypatch, tmp_path / "two", "second", {"second_plugin": CALLBACKS}, offers)
    with pytest.raises(
        ValueError, match=r"several .* 'Counting'; give the path: .* or second_plug"
    ):
        make("x", "Counting", takes=CALLBACK)
    assert make("x", "second_plugin:Counting", takes=CALLBACK).by == 1


def test_what_is_no_longer_installed_is_told(installed, monkeypatch):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("site")])
    with pytest.raises(ValueError, match=r"in ritz.callbacks, ritz.checkpoint, and no installed"):
        make("x", "Counting", takes=CALLBACK)
    with pytest.raises(ValueError, match="no installed plug-in is called 'Counting'; there are: "):
        load("callbacks", "Counting")


@pytest.mark.medium
def test_checks_tell_what_is_wrong(installed, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")  # which takes the statement assert away
    names = ["Counting", "Needy", "Secretive", "Stranger", "Gone"]
    assert main(["plugins", "--check", *names]) == 1
    told = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert told["Counting"].endswith("  passes") and told["Needy"].endswith("  passes")
    assert "fails: it needs by; give the class an attribute check_arguments" in told["Secretive"]
    assert "fails: counting_plugin:Stranger is no callback" in told["Stranger"]
    assert "has no attribute 'Gone'" in told["Gone"]


TOY = """
from pathlib import Path
from tests.cli.toy import DOMAIN

Path("imported").touch()
broken = 1
"""


def test_a_domain_of_another_package(tmp_path, monkeypatch, capsys):
    offers = {"domains": {"toy": "toy_plugin:DOMAIN", "broken": "toy_plugin:broken",
                          "plot": "toy_plugin:DOMAIN"}}  # fmt: skip
    install(monkeypatch, tmp_path / "site", "toys", {"toy_plugin": TOY}, offers, "2.1")
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "A domain of the package toys 2.1." in out
    assert main(["status", "nowhere"]) == 2 and not Path("imported").exists()
    assert main(["toy", "train", "folder=r", "progress=false"]) == 0
    assert json.loads(Path("r/summary.json").read_text())["steps"] == 10
    capsys.readouterr()
    assert main(["status", "r"]) == 0 and "10 of 10" in capsys.readouterr().out
    assert main(["broken", "train"]) == 2
    assert "broken of toys 2.1 is offered as a domain, but toy_plugin:broken is 1, and no" in (
        capsys.readouterr().err
    )
    assert main(["plot", "r", "-o", "a.svg"]) == 0  # that of Ritz
    capsys.readouterr()
    assert main(["plugins", "plot", "toy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("; hidden, since Ritz has this name") for line in lines[1:]] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("callback", "3d", "'3d' cannot be the name of a package: give letters"),
        ("callback", "json", "there is a module json in Python or in an installed package"),
        ("callback", "Jax", "there is a module jax in Python or in an installed package"),
        ("callback", "lambda", "there is a module lambda in Python"),
        ("callback", "early-stopping", "would find the EarlyStopping of Ritz; give another name"),
        ("update", "SR", "configurations would find the SR of Ritz"),
        ("callback", "../up", "cannot be the name of a package"),
        ("calback", "mine", "invalid choice"),
    ],
)
def test_names_that_no_package_can_have(kind, name, message, capsys):
    assert main(["new", kind, name]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_new_package_is_written_once(capsys):
    assert main(["new", "stop-condition", "StopWhenPrecise", "--into=packages"]) == 0
    out = capsys.readouterr().out
    assert "pip install -e packages/stop-when-precise\n" in out
    source = Path("packages/stop-when-precise/src/stop_when_precise/stop_condition.py").read_text()
    assert "class StopWhenPrecise(StopCondition):" in source and "Below" not in source
    assert main(["new", "driver", "EarlyStopping"]) == 0  # which no configuration names
    source = Path("early-stopping/src/early_stopping/driver.py").read_text()
    assert 'class EarlyStopping(AbstractDriver):\n    """Newton\'s method for the' in source
    capsys.readouterr()
    assert main(["new", "stop-condition", "stop-when-precise", "--into=packages"]) == 2
    assert "stop-when-precise exists" in capsys.readouterr().err


CONFIG = """
folder: r
system: {class_path: TransverseIsing, init_args: {extent: [4]}}
train: {iterations: 2, n_samples: 32, burn_in: 2, callbacks: [MyScienceCallback]}
"""

USE = """
from my_science import MyScienceDriver
from ritz.driver import AbstractDriver
from ritz.plugins import load
from ritz.stages.contracts import UPDATE
from ritz.stages.parts import make

assert issubclass(MyScienceDriver, AbstractDriver)
assert make("x", "MyScienceUpdate", takes=UPDATE) == load("updates", "MyScienceUpdate")()
"""


def environment(folder):
    """Make a virtual environment that sees the packages of this one; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = Path(folder).glob("lib/python*/site-packages")
    (site / "developer.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    return f"{folder}/bin/python"


@pytest.mark.medium
@pytest.mark.netket
def test_a_wheel_of_a_new_package():
    """Built, installed, listed, checked, named in YAML and in Python, and uninstalled."""
    assert main(["new", "plugin", "MyScience"]) == 0
    python = environment("environment")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", "wheels", "./my-science"]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = Path("wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)

    def ritz(*given):
        return subprocess.run([python, "-m", "ritz", *given], capture_output=True, text=True)

    listed = ritz("plugins", "--check")
    assert listed.returncode == 0, listed.stdout
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    assert {row[1] for row in rows if row[2] == "my-science"} == {
        "MyScienceCallback", "MyScienceCondition", "MyScienceLog", "MyScienceUpdate",
    }  # fmt: skip
    assert all(row[-1] == "passes" for row in rows)
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-science/tests"]
    subprocess.run(tests, check=True)
    subprocess.run([python, "-c", USE], check=True)

    Path("config.yaml").write_text(CONFIG)
    command = ["lattice", "train", "--config=config.yaml", "--dry_run"]
    checked = ritz(*command)
    assert checked.returncode == 0, checked.stderr
    subprocess.run([*pip, "uninstall", "-y", "my-science"], check=True)
    refused = ritz(*command)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "there is no 'MyScienceCallback' in ritz.callbacks, ritz.checkpoint, and no" in line
