"""What the files of a run tell, in all layouts."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ritz.folders.lock import FolderLock
from ritz.report import facts_of
from tests.report.folders import add_checkpoint, lattice_run
from tests.report.pages import page_of

NOW = "2026-01-02 03:04:05+0000"
ENDED = {"reason": "FINISHED", "message": "finished all steps", "step": 40}


def record(folder: Path, state: str, message: str) -> None:
    """What a sweep notes of a run."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "sweep.json").write_text(json.dumps({"state": state, "message": message}))


def test_runs_of_a_sweep_that_failed_at_once_or_left_a_summary_alone(tmp_path: Path) -> None:
    lattice_run(tmp_path / "sweep" / "good")
    record(tmp_path / "sweep" / "bad", "failed", "no such system")
    (tmp_path / "sweep" / "bare").mkdir()
    (tmp_path / "sweep" / "bare" / "summary.json").write_text('{"energy": -2.0, "error": 0.5}')
    page = page_of(tmp_path / "sweep")
    assert "3 runs" in page.text and "no such system" in page.text
    assert "-2.00 ± 0.50" in page.cells


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_the_reason_of_a_sweep_takes_the_place_of_the_message(tmp_path: Path, state: str) -> None:
    run = lattice_run(tmp_path / "run")
    record(run, state, "given up after 10 of 40 steps")
    os.utime(run / "summary.json", (0, 0))
    facts = facts_of(run)
    assert facts.reason == state.upper()
    assert facts.ended == "given up after 10 of 40 steps"


def test_stages_in_python_are_compared(tmp_path: Path) -> None:
    for name, host in (("a", "gpu"), ("b", "cpu")):
        stage = tmp_path / name / "checkpoints" / "train"
        add_checkpoint(stage, 40, NOW, versions={"jax": "0.9", "backend": host})
        with FolderLock(tmp_path / name).held(lambda: ENDED), FolderLock(stage).held(lambda: ENDED):
            pass
    page = page_of(tmp_path / "a", tmp_path / "b")
    assert "What differs" in page.text
    assert {"backend", "cpu", "gpu", "40"} <= set(page.cells)
    assert "finished all steps" in page.text


def test_checkpoints_right_in_their_folder(tmp_path: Path) -> None:
    place = tmp_path / "a" / "checkpoints"
    more = {"devices": 2, "device kind": "NVIDIA H200"}
    with FolderLock(place).held(lambda: ENDED):
        add_checkpoint(place, 40, NOW, **more)
    facts = facts_of(tmp_path / "a")
    assert facts.result["steps"] == 40 and facts.reason == "FINISHED"
    assert facts.machine["device kind"] == "NVIDIA H200" and "host" in facts.machine


def test_a_run_at_its_checkpoints_alone_is_running(tmp_path: Path) -> None:
    place = tmp_path / "a" / "checkpoints"
    with FolderLock(place).held(lambda: ENDED):
        add_checkpoint(place, 40, NOW)
        assert facts_of(tmp_path / "a").ended == "still running"
    assert facts_of(tmp_path / "a").ended == "finished all steps"


def test_a_copied_folder_keeps_commands_host_and_end(tmp_path: Path) -> None:
    place = tmp_path / "a" / "checkpoints"
    with FolderLock(place).held(lambda: ENDED):
        add_checkpoint(place, 40, NOW, ended={"reason": "FINISHED", "message": "finished"})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    original, copy = facts_of(tmp_path / "a"), facts_of(tmp_path / "b")
    assert original.commands and copy.commands == original.commands
    assert copy.machine == original.machine and "host" in copy.machine
    assert copy.reason == "FINISHED"


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("name,value\na,1\n")
    with pytest.raises(ValueError, match="there is no run in .* no checkpoints"):
        facts_of(tmp_path)


def test_the_v_score_is_the_mean_of_the_last_tenth(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    expected = sum(0.9**step for step in range(36, 40)) / 4
    assert facts_of(run).v_score == pytest.approx(expected)
    page = page_of(run)
    place = page.cells.index("V-score, mean of the last tenth")
    assert page.cells[place + 1] == f"{expected:.3g}"


def test_a_log_beside_its_folder_has_its_whole_name(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    (run / "train.csv").rename(tmp_path / "h0.5.csv")
    assert facts_of(tmp_path / "h0.5").name.endswith("h0.5")


def test_a_clock_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    run = lattice_run(tmp_path / "run")
    (run / "train.csv").write_text("step,Energy.Mean,wallclock\n0,1,soon\n1,2,later\n")
    assert facts_of(run).steps is None
