"""Two processes on this machine decide together, through jax.distributed.

One pair of processes goes through many scenarios, see `two_processes.py`.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.arrangements import free_port
from tests.driver import two_processes
from tests.driver.fragile import FragileDriver
from tests.driver.two_processes import STEPS

pytestmark = pytest.mark.medium

ROOT = Path(__file__).parents[2]
SAME = ("step", "rows", "loss", "seen", "parameters", "key")
HOOKS = ("on_step_start", "on_compute_update_end", "before_parameter_update", "on_step_end")
ACTING = 13
"""The step at which the callbacks of the scenarios do something."""


@contextlib.contextmanager
def started(module, *arguments):
    """Two processes; none is left, whatever happens."""
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, port, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for rank in range(2)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What came of all scenarios in both processes."""
    folder = tmp_path_factory.mktemp("pair")
    with started("tests.driver.two_processes", str(folder)) as processes:
        errors = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    return {name: (found[0][name], found[1][name]) for name in found[0]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs a scenario in this process."""

    def run(name):
        callbacks, arguments = two_processes.scenarios()[name]
        return two_processes.run(name, callbacks, arguments, tmp_path_factory.mktemp("alone"))

    return run


def assert_like(found, wanted, fields=SAME):
    for field in fields:
        assert found[field] == wanted[field], field


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other steps", "numbers of steps at its end: [40, 30], in their order"),
        ("other settings", "settings: damping. Give all of them the same"),
        ("other parameters", "parameters"),
    ],
)
def test_processes_that_were_given_something_else_are_told(pair, name, told):
    for found in pair[name]:
        assert f"the processes of this run have different {told}" in found["error"]
        assert found["step"] == 0


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a class of Linux")
def test_threads_that_carry_messages_do_not_interrupt_others(pair):
    for found in pair["plain"]:
        assert "Python, batch" not in found["classes"]
        # One more may have been started since: others are of the class of their makers.
        assert found["classes"]["others, batch"] > found["classes"].get("others, normal", 0)


@pytest.mark.bits
@pytest.mark.parametrize("name", ["plain", "live, one hook", "cut", "no speculation"])
def test_both_go_on_alike(pair, alone, name):
    first, second = pair[name]
    wanted = alone("plain")
    assert_like(first, wanted)
    assert_like(second, wanted)
    assert first["csv"] == list(range(STEPS)) and first["reason"] == "FINISHED"


def test_one_gather_a_block_and_a_live_step(pair):
    once = 5  # before the run, at its start, for the first plan, after the steps, at the end
    plain, _ = pair["plain"]
    assert plain["blocks"] < STEPS / 4 and plain["gathers"] <= plain["blocks"] + once
    one, _ = pair["live, one hook"]
    assert one["gathers"] <= STEPS + once
    every, _ = pair["live"]  # a callback that may decide at each of three points
    assert every["gathers"] <= 3 * STEPS + once


@pytest.mark.parametrize("live", ["", ", live"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_stop_of_any_process_is_that_of_both(pair, alone, rank, hook, live):
    both = pair[f"stop by {rank} in {hook}{live}"]
    wanted = alone(f"stop by None in {hook}{live}")
    for place, found in enumerate(both):
        assert_like(found, wanted)
        assert (found["reason"], found["ended"]) == ("STOPPED", ["end"])
        own = rank in (None, place)
        assert found["message"] == (
            "stopped by Deed: enough" if own else "stopped by another process"
        )
    assert both[0]["csv"] == wanted["rows"]


@pytest.mark.parametrize("live", ["", ", live"])
@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_rejection_of_any_process_is_that_of_both(pair, alone, rank, live):
    both = pair[f"reject by {rank}{live}"]
    wanted = alone(f"reject by None{live}")
    for found in both:
        assert_like(found, wanted)
    assert both[0]["csv"] == list(range(STEPS))


def test_drivers_without_a_kernel_agree_too(pair):
    for found in pair["plain driver stops"]:
        assert found["step"] == ACTING and found["rows"] == list(range(ACTING + 1))
    for found in pair["plain driver rejects"]:
        assert found["step"] == STEPS and found["rows"] == list(range(STEPS))


def test_a_signal_to_one_process_ends_both(pair):
    first, second = pair["signal, live"]
    assert first["step"] == second["step"] == ACTING + 1
    assert first["message"] == "interrupted by SIGTERM to another process"
    assert second["message"] == "interrupted by SIGTERM"
    for found in pair["signal"] + pair["signal, live"]:
        assert found["error"].startswith("RunInterrupted: interrupted by SIGTERM")


def test_time_is_up_for_both(pair):
    first, second = pair["time"]
    assert first["step"] == second["step"] and first["reason"] == second["reason"] == "TIMED_OUT"
    assert second["message"].startswith("stopped by Timeout")


@pytest.mark.parametrize("live", ["", ", live"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_process_ends_both(pair, rank, hook, live):
    both = pair[f"fail on {rank} in {hook}{live}"]
    own, other = both[rank], both[1 - rank]
    assert own["error"] == "ValueError: broken on purpose"
    assert other["error"] == (
        f"OtherProcessFailed: process {rank} of 2 failed at step {ACTING} in Deed.{hook}: "
        "ValueError: broken on purpose"
    )
    counted = ACTING + (hook == "on_step_end")
    for found in both:
        assert found["ended"] == ["error"] and found["reason"] == "FAILED"
        assert found["step"] == counted and found["seconds"] < 20
        assert found["rows"][:ACTING] == list(range(ACTING))
    assert both[0]["csv"] == both[0]["rows"]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("hook", "where", "ended"),
    [
        ("check_run", "before the run", []),
        ("on_run_start", "at step 0 in Deed.on_run_start", ["error"]),
        ("on_run_end", "at the end of the run in Deed.on_run_end", ["end"]),
    ],
)
def test_an_error_around_the_steps_ends_both(pair, rank, hook, where, ended):
    both = pair[f"fail on {rank} in {hook}"]
    assert both[rank]["error"] == "ValueError: broken on purpose"
    assert both[1 - rank]["error"] == (
        f"OtherProcessFailed: process {rank} of 2 failed {where}: ValueError: broken on purpose"
    )
    for found in both:
        assert found["ended"] == ended and found["seconds"] < 20


def test_an_error_after_a_step_ends_both(pair):
    first, second = pair["fails in after_step"]
    assert first["step"] == second["step"] == ACTING + 1
    assert "process 1 of 2 failed at step 14" in first["error"]


@pytest.mark.parametrize("live", ["", ", live"])
def test_a_full_disk_ends_both(pair, live):
    first, second = pair[f"full disk{live}"]
    assert first["error"] == "OSError: [Errno 28] No space left on device"
    assert second["error"].startswith("OtherProcessFailed: process 0 of 2 failed at step ")
    assert second["error"].endswith(
        " in CSVLog.before_parameter_update: OSError: [Errno 28] No space left on device"
    )
    assert first["ended"] == second["ended"] == ["error"] and first["step"] == second["step"]


def test_a_folder_that_is_not_shared_is_refused_by_both(pair):
    for found in pair["unshared"]:
        assert found["error"].startswith("CheckpointError: the checkpoint folder ")
        assert " is not that of process 1 of 2: all must see the same one" in found["error"]
        assert found["step"] == 0 and found["seconds"] < 20


def test_the_clock_of_one_process_saves_both(pair):
    first, second = pair["saved"]
    assert first["step"] == second["step"] == STEPS and first["error"] is second["error"] is None
    assert first["saved"] == second["saved"] and first["saved"][-1] == f"{STEPS:08d}-end"
    assert len(first["saved"]) == 3  # the newest


def test_a_process_that_waits_for_a_failed_one_is_ended():
    """They compute together in a hook, and one of them fails before it comes there."""
    with started("tests.driver.stuck_process", "raise") as both:
        outputs = [process.communicate(timeout=60) for process in both]
    said = "process 1 of 2 failed at step 13 in Together.on_step_end: ValueError: broken on purpose"
    (first, first_err), (second, second_err) = outputs
    assert f"told at step 13: {said}" in first and said in first_err
    assert "told at step 14: broken on purpose" in second and "ValueError" in second_err
    assert all(process.returncode == 1 for process in both)
    assert float(second.split("left after ")[1]) < 20


def test_a_process_that_is_busy_is_ended_when_another_is_killed():
    """Heartbeats of JAX would end it after minutes."""
    began = time.monotonic()
    with started("tests.driver.stuck_process", "killed") as (first, second):
        words, errors = first.communicate(timeout=60)
        second.wait(timeout=60)
    assert time.monotonic() - began < 40
    assert (first.returncode, second.returncode) == (1, -9)
    said = "process 1 of 2 was lost: it was killed, or its machine has failed"
    assert f"told at step 13: {said}" in words and said in errors


@pytest.mark.parametrize("name", two_processes.DIVERGING)
def test_what_is_not_finite_ends_or_changes_both_alike(pair, tmp_path, name):
    callbacks, arguments, kernel = two_processes.DIVERGING[name]
    callbacks = [act() for act in callbacks]
    for callback in callbacks:
        if isinstance(callback, two_processes.Deed):
            callback.rank = None
    driver = FragileDriver(**kernel)
    wanted = two_processes.run(name, callbacks, dict(arguments), tmp_path, driver)
    # JSON has lists and null where the row was not finite.
    wanted = json.loads(json.dumps(wanted))
    for found in pair[name]:
        for field in ("error", "step", "reason", "rows", "loss", "seen", "parameters"):
            assert str(found[field]) == str(wanted[field]), field
    assert wanted["reason"] == {"d": "DIVERGED", "g": "FINISHED", "s": "STOPPED"}[name[0]]
