import os
import signal
import time
from pathlib import Path

import pytest

from ritz.callbacks import LambdaCallback
from ritz.checkpoint import Checkpoint, SlurmRequeue
from ritz.checkpoint.slurm import _seconds
from ritz.driver import StopReason
from tests.checkpoint.test_checkpoint import go, names
from tests.driver.tools import Halving, at


class Waiting(Halving):
    def reset_step(self):
        time.sleep(0.02)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs; the job ends in `left` seconds."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)

    def install(squeue="echo 0:$(($(cat end) - $(date +%s)))", scontrol="", left=3600):
        ends_in(left)
        for name, body in (("squeue", squeue), ("scontrol", scontrol)):
            if body is not None:
                program = programs / name
                program.write_text(f'#!/bin/sh\necho "{name} $@" >> calls\n{body}\n')
                program.chmod(0o755)

    return install


def ends_in(seconds):
    Path("end").write_text(str(round(time.time()) + seconds))


def calls(name):
    lines = Path("calls").read_text().splitlines() if Path("calls").exists() else []
    return [line for line in lines if line.startswith(name)]


def test_the_run_stops_in_time_and_the_job_is_queued_again(slurm):
    slurm(left=3)
    driver = go(Waiting(), 500, SlurmRequeue(before=1.5), Checkpoint("ck"))
    assert driver.stop_reason is StopReason.TIMED_OUT and 0 < driver.step_count < 200
    assert "s are left of the Slurm job 77" in driver.stop_message
    assert calls("scontrol") == ["scontrol requeue 77"]
    assert calls("squeue")[0] == "squeue --noheader --jobs 77 --format %L"
    saved = driver.step_count
    assert names()[-1] == f"{saved:08d}-end"
    slurm(left=9999)  # the new job goes on
    driver = go(Waiting(), saved + 5, SlurmRequeue(before=1.5), Checkpoint("ck"))
    assert driver.stop_reason is StopReason.FINISHED and driver.step_count == saved + 5
    assert calls("scontrol") == ["scontrol requeue 77"]


def test_it_is_saved_before_it_is_queued(slurm):
    slurm(left=1, scontrol="ls ck > at_requeue")
    driver = go(Waiting(), 500, SlurmRequeue(before=60), Checkpoint("ck"))
    assert f"{driver.step_count:08d}-end" in Path("at_requeue").read_text()


def test_a_limit_that_was_extended_counts(slurm):
    slurm(left=4)
    extend = at(2, lambda driver: ends_in(9999), "on_step_end")
    driver = go(Waiting(), 150, extend, SlurmRequeue(before=2), Checkpoint("ck"))
    assert driver.stop_reason is StopReason.FINISHED
    assert len(calls("squeue")) == 2


@pytest.mark.medium
def test_a_step_that_would_take_too_long_is_not_begun(slurm):
    class Slow(Halving):
        def reset_step(self):
            time.sleep(0.9)

    slurm(left=5)
    latest = int(Path("end").read_text())
    last = []
    note = LambdaCallback(on_step_end=lambda *_: last.append(time.time()), live=False)
    driver = go(Slow(), 20, note, SlurmRequeue(before=0.5), Checkpoint("ck"))
    assert driver.stop_reason is StopReason.TIMED_OUT and 2 <= driver.step_count <= 5
    assert last[-1] < latest


def test_a_signal_from_slurm_queues_the_job(slurm):
    slurm()
    send = at(3, lambda driver: os.kill(os.getpid(), signal.SIGUSR1), "on_step_end")
    with pytest.raises(KeyboardInterrupt, match="interrupted by SIGUSR1") as raised:
        go(Waiting(), 50, send, SlurmRequeue(), Checkpoint("ck"))
    assert raised.value.code == 128 + signal.SIGUSR1
    assert calls("scontrol") == ["scontrol requeue 77"]
    send = at(3, lambda driver: os.kill(os.getpid(), signal.SIGTERM), "on_step_end")
    with pytest.raises(KeyboardInterrupt, match="interrupted by SIGTERM"):
        go(Waiting(), 50, send, SlurmRequeue(), Checkpoint("term"))
    assert len(calls("scontrol")) == 1  # somebody wants the job to end


def test_missing_and_failing_programs_are_warnings(slurm, caplog, monkeypatch):
    slurm(squeue="echo no such job >&2; exit 1", scontrol="echo denied >&2; exit 1")
    driver = go(Waiting(), 3, SlurmRequeue(), Checkpoint("ck"))
    assert driver.stop_reason is StopReason.FINISHED
    assert "`squeue --noheader --jobs 77 --format %L` failed: no such job" in caplog.text
    assert "the run will not stop in time" in caplog.text
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 5))
    driver = go(Waiting(), 3, SlurmRequeue(before=60), Checkpoint("ended"))
    assert driver.stop_reason is StopReason.TIMED_OUT
    assert "`scontrol requeue 77` failed: denied" in caplog.text
    monkeypatch.setenv("PATH", "/nowhere")
    driver = go(Waiting(), 3, SlurmRequeue(before=60), Checkpoint("missing"))
    assert "No such file or directory: 'squeue'" in caplog.text
    assert "No such file or directory: 'scontrol'" in caplog.text


def test_elsewhere_nothing_happens(slurm, monkeypatch, caplog):
    slurm()
    monkeypatch.delenv("SLURM_JOB_ID")
    assert go(Waiting(), 3, SlurmRequeue(), Checkpoint("ck")).step_count == 3
    assert calls("squeue") == []
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    Waiting().run(2, callback=SlurmRequeue(), show_progress=False)
    assert "without a Checkpoint" in caplog.text
    with pytest.raises(ValueError, match="before must be above 0"):
        SlurmRequeue(before=0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04", 93784), ("02:03:04", 7384), ("03:04", 184), ("7", 7),
     ("UNLIMITED", float("inf")), ("INVALID", None), ("NOT_SET", None), ("", None)],
)  # fmt: skip
def test_times_are_understood(text, seconds):
    assert _seconds(text) == seconds
