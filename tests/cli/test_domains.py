"""A domain is a file and an entry: all commands know it then."""

import json
import re
from pathlib import Path

import pytest

from ritz.cli import domains
from ritz.cli.main import main
from ritz.cli.plugin_check import check_domain
from ritz.folders.config import domain_of
from ritz.folders.view import ANY_RUN, LOSS, Quantity, RunView

VIEW = RunView(
    numbers=(Quantity("loss", "height", "mm", 1e3), Quantity("wallclock", "seconds", "s")),
    curves=(Quantity("loss", "height", "mm", 1e3, logarithmic=True), Quantity("wallclock")),
)
TOY = domains.Entry("Minimise a quadratic function.", "tests.cli.toy", VIEW)


@pytest.fixture
def toy(monkeypatch, capsys):
    monkeypatch.setitem(domains.DOMAINS, "toy", TOY)

    def run(*arguments):
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_toy_domain_has_all_commands(toy):
    command = ["toy", "train", "folder=r", "progress=false"]
    assert toy(*command, "--dry-run")[:2] == (0, "train: a toy. Nothing was written.\n")
    assert not Path("r").exists()
    status, out, error = toy(*command)
    assert status == 0 and out == "picture in r/loss.svg\neverything in r\n", error
    assert domain_of("r") == "toy" and "iterations: 10" in Path("r/config.yaml").read_text()
    summary = json.loads(Path("r/summary.json").read_text())
    assert summary["steps"] == 10 and summary["stop_reason"] == "FINISHED"
    loss = summary["train"]["loss"]

    status, out, _ = toy("status", "r")
    assert re.search(r"  train\n    step            10 of 10\n    height          ", out)
    height, seconds = re.search(r"height +(\S+) \+- 0 mm\n    seconds +(\S+) s\n", out).groups()
    assert float(height) == pytest.approx(1e3 * loss) and float(seconds) >= 0
    assert toy("plot", "r", "-o", "a.svg")[:2] == (0, "a.svg\n")
    for curve in ("height", "(mm)", "wallclock"):
        assert f"<!-- {curve} -->" in Path("a.svg").read_text()
    assert toy("plot", "r", "-o", "a.svg", "--quantity=wallclock")[0] == 0
    assert "<!-- height -->" not in Path("a.svg").read_text()


def test_the_same_command_goes_on_and_tells_mistakes(toy):
    command = ["toy", "train", "folder=r", "progress=false"]
    assert toy(*command)[0] == 0
    assert toy(*command)[1].startswith("the run has ended: finished all steps. A larger train.it")
    assert "went on from step 10 to step 12" in toy(*command, "train.iterations=12")[1]
    assert "less than the 12 steps" in toy(*command, "train.iterations=3")[1]
    error = toy(*command, "train.callbacks=[EarlyStopping]", "train.iterations=14")[2]
    assert error.endswith("give train.accept_changes='[callbacks]'.\n")
    assert toy(*command, "train.iteration=3")[2] == (
        "ritz: train.iteration: there is no such setting; did you mean train.iterations? "
        "(see ritz toy train --help)\n"
    )
    assert "give a command: train (see ritz toy --help)" in toy("toy")[2]
    assert ", sweep, lattice, molecule, mlip, relax, toy (see ritz --help)" in toy()[2]
    Path("empty").mkdir()
    assert "`ritz toy`, of work stages" in toy("status", "empty")[2]


def test_an_interrupted_command_has_a_summary(toy):
    Path("interrupts.py").write_text(
        "import signal\n"
        "from ritz.callbacks import LambdaCallback\n\n"
        "def at_step_3() -> LambdaCallback:\n"
        "    def act(step, row, driver):\n"
        "        if step == 3:\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "    return LambdaCallback(on_step_end=act)\n"
    )
    command = ["toy", "train", "folder=r", "progress=false"]
    assert toy(*command, "train.callbacks=[interrupts.at_step_3]")[0] == 130
    summary = json.loads(Path("r/summary.json").read_text())
    assert summary["stop_reason"] == "INTERRUPTED" and summary["steps"] == 4


def test_a_folder_belongs_to_one_domain(toy):
    assert toy("toy", "train", "folder=r", "progress=false")[0] == 0
    before = Path("r/config.yaml").read_bytes()
    Path("r/config.yaml").write_bytes(before.replace(b"ritz toy", b"ritz lattice"))
    status, _, error = toy("toy", "train", "folder=r")
    assert status == 2
    assert error == (
        "ritz: folder: r belongs to a run of `ritz lattice`; give `ritz toy` another one.\n"
    )
    assert "belongs to a run of `ritz lattice`; give `ritz relax`" in toy("relax", "folder=r")[2]


def test_runs_of_unknown_domains_are_shown_by_their_loss(toy, monkeypatch):
    assert toy("toy", "train", "folder=r", "progress=false")[0] == 0
    monkeypatch.delitem(domains.DOMAINS, "toy")
    assert domains.view_of("r") is ANY_RUN and ANY_RUN.curves[0] is LOSS
    out = toy("status", "r")[1]
    assert "    loss  " in out and "mm" not in out
    assert toy("plot", "r", "-o", "a.svg")[0] == 0
    # Run folders of before say nothing of their domain; the same command writes it.
    config = Path("r/config.yaml")
    head, _, rest = config.read_text().partition("\n")
    config.write_text(f"{head.replace('ritz toy', 'ritz')}\n{rest}")
    assert domain_of("r") is None
    monkeypatch.setitem(domains.DOMAINS, "toy", TOY)
    error = toy("toy", "train", "folder=r", "progress=false")[2]
    assert domain_of("r") == "toy" and "by hand" not in error
    assert not Path("r/config_history").exists()


@pytest.mark.netket
@pytest.mark.parametrize("name", domains.DOMAINS)
def test_every_domain_is_complete(name):
    check_domain(name, domains.load(name))


@pytest.mark.netket
@pytest.mark.parametrize("name", domains.DOMAINS)
def test_defaults_stay_as_they_are_when_they_are_read_again(name, capsys):
    action = next(iter(domains.load(name).actions))
    command = [name, *filter(None, [action]), "--print_config"]
    assert main(command) == 0
    text = capsys.readouterr().out
    Path("c.yaml").write_text(text)
    assert main([*command, "--config=c.yaml"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.netket
@pytest.mark.parametrize("name", domains.DOMAINS)
def test_every_domain_has_help(name, capsys):
    action = next(iter(domains.load(name).actions))
    with pytest.raises(SystemExit) as ended:
        main([name, *filter(None, [action]), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "--folder" in text and "--dry_run" in text and "--config" in text
