"""A run folder says what was damaged, and whether its run goes on."""

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ritz.callbacks import HookTiming
from ritz.checkpoint import Checkpoint
from ritz.cli.main import main
from ritz.cli.results import saved_loss
from ritz.cli.run_folder import CONFIG, HISTORY, KeepTiming, RunFolder, changed
from ritz.cli.watching import watch
from ritz.driver.stop import StopRun
from ritz.folders import FolderInUseError
from ritz.folders.timing import read_timing
from ritz.folders.warnings_file import kept_warnings, read_warnings
from ritz.loggers import CSVLog
from ritz.testing import QuadraticDriver
from tests.driver.tools import at, raising

FIRST = "folder: r\nseed: 1\n"


@pytest.fixture
def folder(caplog):
    caplog.set_level(logging.WARNING)
    found = RunFolder("r")
    found.keep(FIRST)
    assert caplog.text == "" and found.is_intact()
    return found


def test_the_same_configuration_is_left_alone(folder, caplog):
    before = Path("r", CONFIG).read_bytes()
    folder.keep(FIRST, expected=True)
    assert Path("r", CONFIG).read_bytes() == before and caplog.text == ""
    assert folder.config == {"folder": "r", "seed": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"folder: [", "r/config.yaml is no YAML: "),
        (b"", "r/config.yaml holds no configuration; this command's configuration takes its"),
        (b"\xff\xfe", "r/config.yaml is no text: "),
        (None, "r/config.yaml is gone; it is written anew"),
    ],
)
def test_what_cannot_be_read_is_said_and_kept(folder, caplog, content, said):
    path = Path("r", CONFIG)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    folder.keep(FIRST, expected=True)
    assert said in caplog.text
    assert folder.is_intact() and folder.config["seed"] == 1
    if content is not None:
        assert (Path("r") / HISTORY / "001.yaml").read_bytes().endswith(content)


def test_any_other_byte_is_said(folder, caplog):
    path = Path("r", CONFIG)
    before = path.read_bytes()
    path.write_bytes(before.replace(b"seed: 1", b"seed: 7"))
    assert not folder.is_intact()
    folder.keep(FIRST, expected=True)
    assert "r/config.yaml was damaged, or changed by hand" in caplog.text
    assert "The configuration has changed: seed was 7, is 1" in caplog.text
    assert path.read_bytes() == before


def test_numbers_are_compared_by_value():
    old = {"a": 10, "b": [1, {"c": 2.0}], "seed": 1, "on": True, "name": "10"}
    assert changed(old, {**old, "a": 10.0, "b": [1.0, {"c": 2}]}) == []
    new = {"a": 10.5, "b": [1, {"c": 2}, 3], "seed": True, "on": 1, "name": "10.0"}
    assert changed(old, new) == [
        "a was 10, is 10.5", "seed was 1, is True", "on was True, is 1", "name was 10, is 10.0",
        "b.2 was nothing, is 3",
    ]  # fmt: skip
    assert changed({"b": [1, 2]}, {"b": [1.0]}) == ["b.1 was 2, is nothing"]


def run(n_iter=20, *callbacks, **options):
    driver = QuadraticDriver()
    saving = Checkpoint("r/checkpoints/train", every_steps=5)
    driver.run(
        n_iter, out=CSVLog("r/train.csv"), callback=[saving, *callbacks], show_progress=False,
        **options,
    )  # fmt: skip


def status(capsys):
    capsys.readouterr()
    assert main(["status", "r"]) == 0
    return capsys.readouterr().out


def test_status_says_how_a_run_ended(capsys):
    run()
    said = status(capsys)
    assert "step            20 of 20" in said
    assert re.search(r"ended +finished all steps \(2", said)
    assert "last checkpoint step 20" in said
    run(30, resume=True)
    assert "step            30 of 30" in status(capsys)


def test_runs_are_watched_until_none_goes_on(capsys, monkeypatch):
    run()
    looks = iter([True, True, False])
    monkeypatch.setattr("ritz.cli.commands.status._EVERY", 0.01)
    monkeypatch.setattr("ritz.cli.commands.status._goes_on", lambda path: next(looks))
    monkeypatch.setattr("ritz.cli.commands.status.checkpoint_folders", lambda folder: [folder])
    steps = iter([3, 5, 5, 20])
    monkeypatch.setattr("ritz.cli.commands.status.describe_run", lambda f: f"step {next(steps)}\n")
    assert main(["status", "--watch", "r"]) == 0
    assert capsys.readouterr().out == "step 5\n\nstep 20\n"
    assert not list(looks)


def test_what_is_watched_stays_in_its_place_in_a_terminal(capsys, monkeypatch):
    texts = iter([("a" * 30 + "\nb\nc\nd\n", True), ("a\nb\n", False)])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: (11, 4))
    watch(lambda: next(texts), 0.0)
    assert capsys.readouterr().out == "aaaaaaaaaa\nb\n... and 2 \n\x1b[3F\x1b[Ja\nb\n"


@pytest.mark.parametrize(("hook", "steps"), [("before_parameter_update", 12), ("on_step_end", 13)])
def test_the_steps_of_a_stopped_run_are_its_updates(capsys, hook, steps):
    run(20, at(12, raising(StopRun("enough")), hook))
    for lock in ("run.lock", "nothing"):  # without its lock, the folder was copied
        said = status(capsys)
        assert f"step            {steps} of 20" in said and ": enough" in said
        assert "time left" not in said
        Path("r/checkpoints/train", lock).unlink(missing_ok=True)


def test_a_run_that_went_on_after_it_was_stopped_has_not_ended(capsys):
    run(20, at(12, raising(StopRun("enough"))))
    Path("r/checkpoints/train/run.lock").unlink()
    with open("r/train.csv", "a") as file:
        file.write(Path("r/train.csv").read_text().splitlines()[-1].replace("12,", "13,", 1) + "\n")
    said = status(capsys)
    assert "step            14 of 20" in said and "enough" not in said and "time left" in said


def test_a_damaged_checkpoint_is_named_with_what_to_do(capsys):
    run()
    newest = Path("r/checkpoints/train/00000020-end/manifest/metadata")
    newest.write_bytes(newest.read_bytes()[:500])
    said = status(capsys)
    assert (
        f"\n    damaged         checkpoint of step 20: {newest} is damaged; the same command goes "
        "on from an older one\n" in said
    )
    assert "step            20 of 20" in said and "last checkpoint step 15" in said
    for path in Path("r/checkpoints/train").glob("*/manifest/metadata"):
        path.unlink()
    said = status(capsys)
    assert f"20: {newest} is missing; the same" in said and "ended           finished all" in said
    assert "is missing; no older one is left: move r/checkpoints/train away to begin anew" in said


def test_a_run_that_failed_says_so(capsys):
    def fail(driver):
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        run(20, at(12, fail, "on_step_start"))
    said = status(capsys)
    assert "step            12 of 20" in said
    assert "ended           failed with ArithmeticError('no')" in said


@pytest.mark.parametrize(
    ("lost", "energy"), [(12, r"[\d.e-]+ at step 11, not finite since"), (1, "[^n]+ at step 0, .*")]
)
def test_a_run_that_diverged_says_so_and_shows_what_it_had_reached(lost, energy, capsys):
    class Spoilt(QuadraticDriver):
        def compute_loss_and_update(self):
            loss, update = super().compute_loss_and_update()
            return (loss._replace(mean=np.nan) if self.step_count >= lost else loss), update

    saving = Checkpoint("r/checkpoints/train")
    Spoilt().run(20, out=CSVLog("r/train.csv"), callback=saving, show_progress=False)
    said = status(capsys)
    assert re.search(rf"\n    loss +{energy}\n", said), said
    assert re.search(r"\n    diverged +the loss 'loss' is not finite at step", said), said
    assert f"step            {lost} of 20" in said and "time left" not in said
    lock = Path("r/checkpoints/train/run.lock").rename("run.lock")
    assert "time left" not in status(capsys)  # nor of a copy, which has no lock
    lock.rename("r/checkpoints/train/run.lock")
    Path("r/train.csv").unlink()
    assert re.search(r"\n    loss +-\n", status(capsys))


def test_a_suspect_row_has_no_error_bar(capsys):
    class Doubted(QuadraticDriver):
        def _log_additional_data(self, log_data):
            self._mark(log_data, {"r_hat": True, "chains": False})

    saving = Checkpoint("r/checkpoints/train")
    Doubted(noise=0.1).run(5, out=CSVLog("r/train.csv"), callback=saving, show_progress=False)
    for _ in range(2):
        assert re.search(r"\n    loss +-?[\d.e-]+ \(suspect: r_hat\)\n", status(capsys))
        Path("r/train.csv").unlink(missing_ok=True)  # then it is that of the checkpoint
    found = saved_loss(Path("r/checkpoints/train"))
    assert found["suspect"] == "r_hat" and np.isfinite(found["energy"])


def test_the_loss_of_a_step_that_was_taken_back_is_no_result():
    class Undone(QuadraticDriver):
        def _log_additional_data(self, log_data):
            self._mark(log_data, {"taken_back": True, "variance": True})

    saving = Checkpoint("r/checkpoints/train")
    Undone(noise=0.1).run(5, out=(), callback=saving, show_progress=False)
    found = saved_loss(Path("r/checkpoints/train"))
    assert found == {"energy": None, "error": None, "suspect": "taken_back, variance"}


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

RUN = """
import time
from tests.cli.test_run_folder import run
from ritz.callbacks import LambdaCallback
def wait(step, *_):
    if step == 12:
        print("running", flush=True)
        time.sleep(100)
run(20, LambdaCallback(on_step_end=wait, live=False))
"""


def test_status_tells_the_living_from_the_dead(capsys):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout.readline() == "running\n"
    said = status(capsys)
    assert re.search(rf"alive +process {process.pid} on ", said)
    assert "step            13 of 20" in said and "(when it goes on)" not in said
    with pytest.raises(FolderInUseError, match=f"process {process.pid} on"):
        run(resume=True)
    with pytest.raises(FolderInUseError):
        run()
    process.kill()
    process.wait()
    process.stdout.close()
    assert re.search(rf"dead +process {process.pid} on .* is gone; the same", status(capsys))
    run(resume=True)
    assert re.search(r"ended +finished all steps", status(capsys))


@pytest.mark.netket
def test_a_second_command_in_a_folder_is_refused(capsys):
    other = subprocess.Popen(
        [sys.executable, "-c", "import time\nfrom ritz.folders import FolderLock\n"
         "FolderLock('r').acquire()\nprint('taken', flush=True)\ntime.sleep(100)"],
        stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert other.stdout.readline() == "taken\n"
    for seed in (0, 1):
        given = ["lattice", "train", "system.extent=[4]", "folder=r", f"seed={seed}"]
        assert main(given) == 2
        said = capsys.readouterr().err
        assert f"r belongs to a run that goes on: process {other.pid}" in said
    assert {p.name for p in Path("r").iterdir()} == {"run.lock"}
    other.kill()
    other.wait()
    other.stdout.close()


def test_runs_in_one_folder_are_told_by_their_names(capsys):
    for name in ("b", "a"):
        saving = Checkpoint(f"runs/{name}/checkpoints/train")
        QuadraticDriver().run(3, callback=saving, show_progress=False)
    QuadraticDriver().run(3, callback=Checkpoint("runs/c/checkpoints"), show_progress=False)
    assert main(["status", "runs"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^  (\S+)$", said, re.M) == ["a/train", "b/train", "c"]
    assert main(["status", "runs/c"]) == 0
    assert capsys.readouterr().out.startswith("runs/c\n  c\n    step            3 of 3\n")


def test_warnings_of_a_command_are_kept_with_their_time():
    folder = RunFolder("r")
    with kept_warnings(folder.path):
        logging.getLogger("ritz").warning("before the run is accepted")
        assert read_warnings(folder.path) == []
        folder.keep(FIRST)
        assert len(read_warnings(folder.path)) == 1  # though the process may be killed now
        logging.getLogger("ritz.checkpoint").warning("two\nlines")
        logging.getLogger("ritz").info("nothing to worry about")
    logging.getLogger("ritz").warning("of something else")
    before, line = read_warnings(folder.path)
    assert before.endswith(" before the run is accepted")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d two lines", line)


def test_a_refused_run_leaves_no_warnings(tmp_path):
    with kept_warnings(tmp_path):
        logging.getLogger("ritz").warning("careful")
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_hook_timing_is_kept_however_the_run_ends(tmp_path):
    timing = HookTiming(io.StringIO())
    callbacks = [timing, KeepTiming(tmp_path), at(3, raising(KeyError("ended")), "on_step_end")]
    with pytest.raises(KeyError):
        QuadraticDriver().run(10, callback=callbacks, show_progress=False)
    rows = read_timing(tmp_path)
    assert [row["callback"] for row in rows][-1] == "the rest: steps"
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)
    assert {row["calls"] for row in rows if row["hook"] == "on_step_end"} == {"4"}
