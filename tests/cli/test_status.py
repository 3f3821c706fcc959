"""`ritz status` beside a live run, which deletes its old checkpoints."""

import shutil
from pathlib import Path

import pytest

from ritz.checkpoint import Checkpoint
from ritz.cli.commands import status
from ritz.cli.main import main
from ritz.folders.saved import Entry, entries
from ritz.testing import QuadraticDriver

SAVED = Path("r/checkpoints/train")


@pytest.fixture
def vanishing(monkeypatch):
    """Makes the next looks find checkpoints that are gone before they are read."""
    QuadraticDriver().run(4, callback=Checkpoint(SAVED, every_steps=2), show_progress=False)
    monkeypatch.setattr(status, "_PAUSE", 0.0)
    monkeypatch.setattr(status, "_EVERY", 0.0)
    looks = []

    def listed(folder):
        if folder.name != "train" or not looks:
            return entries(folder)
        looks.pop()
        return [Entry(0, False, folder / "0"), *entries(folder), Entry(99, False, folder / "99")]

    monkeypatch.setattr(status, "entries", listed)
    return looks


@pytest.mark.parametrize("arguments", [["status", "r"], ["status", "--watch", "r"]])
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_checkpoint_that_vanishes_is_no_error(vanishing, capsys, arguments, looks):
    vanishing.extend(range(looks))
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "last checkpoint step 4" in told.out
    assert "damaged" not in told.out and told.err == ""


def test_what_can_never_be_read_is_told_in_a_line(vanishing, capsys):
    vanishing.extend(range(1000))
    assert main(["status", "r"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("ritz: ") and told.err.count("\n") == 1


def test_a_watched_run_may_lose_its_folder(vanishing, capsys, monkeypatch):
    goes_on = iter([True, True, False])
    monkeypatch.setattr(status, "checkpoint_folders", lambda folder: [SAVED])
    monkeypatch.setattr(status, "_goes_on", lambda path: next(goes_on))

    def pause(seconds):
        shutil.rmtree("r", ignore_errors=True)

    monkeypatch.setattr("ritz.cli.watching.time.sleep", pause)
    assert main(["status", "--watch", "r"]) == 0
    assert "not readable      there is no run folder r." in capsys.readouterr().out


def test_checkpoints_beside_the_logs_of_a_folder_are_found(capsys):
    callback = Checkpoint("runs/a_checkpoints")
    QuadraticDriver().run(3, out="runs/a", callback=callback, show_progress=False)
    assert main(["status", "runs"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("runs\n  a_checkpoints\n") and "3 of 3" in told
