import gc
import importlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ritz.checkpoint import Checkpoint
from ritz.cli.main import main
from ritz.driver.processes.signals import RunInterrupted
from ritz.loggers import CSVLog, HDF5Log, JsonLog
from ritz.plotting import exact_value, plot_runs, read_log
from ritz.testing import QuadraticDriver
from tests.driver.tools import at

QUICK = ["--sites", "6", "--iterations", "60", "--samples", "64"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "runs" / "demo"
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["demo", *QUICK, "--folder", str(folder)])
    return status, out.getvalue(), err.getvalue(), folder


@pytest.mark.medium
@pytest.mark.netket
def test_demo_prints_the_energy_and_writes_its_folder(demo):
    status, out, err, folder = demo
    assert status == 0
    energy, error = map(float, re.search(r"fresh samples\s+(\S+) \+- (\S+)", out).groups())
    exact = float(re.search(r"exact energy\s+(\S+)", out).group(1))
    relative = float(re.search(r"relative error\s+(\S+)", out).group(1))
    assert exact == pytest.approx(-2 / np.sin(np.pi / 12), abs=1e-6)
    assert relative == pytest.approx(abs(energy - exact) / abs(exact), rel=0.1, abs=1e-6)
    assert relative < 0.02 and 0 < error < 0.1
    assert " steps, " in err and "Energy=" in err and "σ²=" in err
    assert sorted(p.name for p in folder.iterdir()) == [
        "energy.png", "run.csv", "run.log", "run.mpack", "summary.json",
    ]  # fmt: skip
    assert (folder / "energy.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "summary.json").read_text())["steps"] == 60
    assert exact_value(folder) == pytest.approx(exact, abs=1e-6)


@pytest.mark.medium
@pytest.mark.netket
def test_demo_is_repeatable(demo, tmp_path, capsys):
    assert main(["demo", *QUICK, "--folder", str(tmp_path / "again")]) == 0
    first, second = (read_log(f)["Energy"]["Mean"] for f in (demo[3], tmp_path / "again"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.netket
def test_plot_overlays_runs(demo, capsys):
    folder = demo[3]
    assert main(["plot", str(folder), str(folder / "run.csv"), "-o", "both.svg"]) == 0
    assert capsys.readouterr().out == "both.svg\n"
    svg = Path("both.svg").read_text()
    assert "<svg" in svg and svg.count("demo") >= 1
    assert main(["plot", str(folder), "-o", "one.svg"]) == 0
    dashes = [Path(f).read_text().count("stroke-dasharray") for f in ("one.svg", "both.svg")]
    assert dashes[1] > dashes[0]  # the second run, over the first, which shows through


def logs():
    QuadraticDriver(noise=0.1).run(
        30, out=[JsonLog("a/run"), HDF5Log("b"), CSVLog("c.csv")], show_progress=False
    )


@pytest.mark.parametrize("path", ["a", "a/run", "a/run.log", "b", "b.h5", "c", "c.csv"])
def test_any_log_can_be_read_and_drawn(path):
    logs()
    data = read_log(path)
    assert data["loss"].iters.tolist() == list(range(30))
    assert len(data["loss"]["error_of_mean"]) == 30
    plot_runs([path], "x.png", quantity="wallclock", exact=0.0)
    assert Path("x.png").stat().st_size > 5000


BAD = {
    "unknown run": (["plot", "nowhere"], "there is no run nowhere."),
    "empty folder": (["plot", "empty"], "no log in the folder empty"),
    "unreadable": (["plot", "bad.log"], "bad.log is no log in JSON layout"),
    "bad hdf5": (["plot", "bad.h5"], "bad.h5 is no HDF5 log"),
    "bad csv": (["plot", "bad.csv"], "bad.csv is no CSV log: its first column is not `step`"),
    "no log at all": (["plot", "notes.txt"], "notes.txt is no log: its name ends in none of"),
    "unknown quantity": (
        ["plot", "ok.csv", "--quantity", "x"],
        "it has: E, word. Name one that all of the runs have; on the command line with --quantity.",
    ),
    "unknown format": (["plot", "ok.csv", "-o", "a.xyz"], "cannot draw a.xyz"),
    "wrong flag": (
        ["plot", "ok.csv", "--colour"],
        "--colour: there is no such option; there are: --",
    ),
    "flag": (["plot", "ok.csv", "--quantty=x"], "did you mean --quantity? (see ritz plot --help)"),
    "no run": (["status"], "ritz: runs must be given (see ritz status --help)"),
    "wrong value": (["relax", "a.cif", "--fmax=x"], "float is needed (see ritz relax --help)"),
    "no command": (
        [],
        "new, plot, plugins, report, status, sweep, lattice, molecule, mlip, relax (see ",
    ),
    "unknown command": (
        ["paint"],
        "new, plot, plugins, report, status, sweep, lattice, molecule, mlip, relax. (see",
    ),
    "wrong command": (["statsu"], "ritz: statsu: there is no such command; did you mean status?"),
    "no number": (["demo", "--sites", "x"], "--sites: 'x' was given, but a whole number of at"),
    "too few": (["demo", "--iterations", "0"], "'0' was given, but a whole number of at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_a_status(case, capsys):
    Path("empty").mkdir()
    Path("bad.log").write_text("{")
    Path("bad.h5").write_text("no")
    Path("bad.csv").write_text("a,b\n1,2\n")
    Path("notes.txt").write_text("hello")
    Path("ok.csv").write_text("step,E.Mean,word\n0,1.0,a\n1,0.5,b\n")
    arguments, message = BAD[case]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ritz: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_the_status_of_several_runs_tells_bad_names_and_goes_on(capsys):
    for name in ("a", "b"):
        QuadraticDriver().run(2, callback=Checkpoint(f"{name}/checkpoints"), show_progress=False)
    assert main(["status", "nowhere", "a", "none", "b"]) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "ritz: there is no run folder nowhere.\nritz: there is no run folder none.\n"
    )
    assert captured.out.startswith("a\n") and "\n\nb\n" in captured.out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and re.fullmatch(r"ritz \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_package_can_be_run():
    done = subprocess.run(
        [sys.executable, "-m", "ritz", "status", "nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "ritz: there is no run folder nowhere.\n"


def test_help_lists_everything(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--sites", "--field", "--iterations", "--samples", "--seed", "--folder"):
        assert flag in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt("interrupted by SIGINT"), 130),
        (KeyboardInterrupt(), 130),
        (RunInterrupted("interrupted by SIGTERM", 15), 143),
    ],
)
def test_signals_give_the_conventional_status(monkeypatch, capsys, error, status):
    from ritz.cli.commands import plot

    def interrupted(options):
        raise error

    monkeypatch.setattr(plot, "run", interrupted)
    assert main(["plot", "x"]) == status
    assert capsys.readouterr().err == f"ritz: {str(error) or 'interrupted'}\n"


def interrupted_command(monkeypatch, act):
    """The status of a command that does `act` and then waits for 5 s."""
    from ritz.cli.commands import plot

    def run(options):
        act()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.01)

    monkeypatch.setattr(plot, "run", run)
    handlers = [signal.getsignal(number) for number in SIGNALS]
    hook = sys.unraisablehook
    try:
        return main(["plot", "x"])
    finally:
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
        assert sys.unraisablehook is hook


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
EARLY = {
    signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "interrupted by SIGTERM"),
    signal.SIGUSR1: (138, "interrupted by SIGUSR1"),
}  # fmt: skip


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_run_ends_the_command(monkeypatch, capsys, number):
    status, said = EARLY[number]
    assert interrupted_command(monkeypatch, lambda: signal.raise_signal(number)) == status
    assert capsys.readouterr().err == f"ritz: {said}\n"


def test_a_signal_that_something_swallows_is_not_lost(monkeypatch, capsys):
    calls = []

    def swallow(phase, info):
        if phase == "start" and not calls:
            calls.append(phase)
            signal.raise_signal(signal.SIGTERM)

    gc.callbacks.append(swallow)
    try:
        assert interrupted_command(monkeypatch, gc.collect) == 143
    finally:
        gc.callbacks.remove(swallow)
    assert calls and capsys.readouterr().err == "ritz: interrupted by SIGTERM\n"


def test_a_signal_waits_for_the_end_of_an_import(monkeypatch, capsys):
    Path("slow_module.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\ncomplete = True\n"
    )
    try:
        status = interrupted_command(monkeypatch, lambda: importlib.import_module("slow_module"))
        assert status == 130 and sys.modules["slow_module"].complete
    finally:
        sys.modules.pop("slow_module", None)
    assert capsys.readouterr().err == "ritz: interrupted\n"


def test_a_signal_during_a_run_is_that_of_the_run(monkeypatch, capsys):
    driver = QuadraticDriver()
    act = at(3, lambda driver: signal.raise_signal(signal.SIGTERM))
    status = interrupted_command(
        monkeypatch, lambda: driver.run(20, callback=act, max_block=1, show_progress=False)
    )
    assert status == 143 and driver.step_count == 4
    assert capsys.readouterr().err == "ritz: interrupted by SIGTERM\n"


def test_handlers_of_a_program_stay(monkeypatch):
    seen = []
    given = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: lambda *_: seen.append("SIGTERM")}
    before = {number: signal.signal(number, handler) for number, handler in given.items()}

    def act():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("done")

    try:
        assert interrupted_command(monkeypatch, act) == 2 and seen == ["SIGTERM"]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
