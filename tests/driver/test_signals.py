import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ritz.callbacks import LambdaCallback, StopRun
from ritz.driver import StopReason
from ritz.loggers import RuntimeLog
from tests.driver.tools import Diary, Halving, text

STEP = "SS CS CE BU SE"


def send(number, hook="on_compute_update_start", step=1, times=1):
    def act(now, *_):
        if now == step:
            for _ in range(times):
                os.kill(os.getpid(), number)

    return LambdaCallback(**{hook: act})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_first_signal_finishes_the_step(number):
    driver, log, diary = Halving(), RuntimeLog(), Diary()
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match=f"interrupted by {number.name}"):
        driver.run(5, out=log, callback=[diary, send(number)], show_progress=False)
    assert (driver.step_count, list(log.data["loss"].iters)) == (2, [0, 1])
    assert text(diary.diary) == f"RS {STEP} {STEP} RE"
    assert driver.stop_reason is StopReason.INTERRUPTED
    assert signal.getsignal(number) == before


def test_second_signal_ends_at_once():
    driver, diary = Halving(), Diary(50)
    with pytest.raises(KeyboardInterrupt, match="second SIGINT"):
        driver.run(5, callback=[send(signal.SIGINT, times=2), diary], show_progress=False)
    assert (driver.step_count, text(diary.diary)) == (1, f"RS {STEP} SS ER")


def test_second_signal_leaves_an_update_whole():
    class Slow(Halving):
        def update_parameters(self, update):
            if self.step_count == 1:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            super().update_parameters(update)

    driver = Slow()
    with pytest.raises(KeyboardInterrupt):
        driver.run(5, show_progress=False)
    assert (driver.step_count, float(driver.parameters)) == (2, 0.25)


def test_a_signal_before_the_first_step_takes_none():
    driver, diary = Halving(), Diary()
    starting = LambdaCallback(on_run_start=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        driver.run(5, callback=[diary, starting], show_progress=False)
    assert text(diary.diary) == "RS RE"


def test_a_signal_is_not_lost_when_a_callback_stops_too():
    driver = Halving()
    stopper = Diary(0, "on_step_end", StopRun("enough"))
    with pytest.raises(KeyboardInterrupt):
        driver.run(5, callback=[stopper, send(signal.SIGINT)], show_progress=False)
    assert driver.stop_message == "stopped by Diary: enough"


def test_interactive_sessions_get_no_exception(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    driver = Halving()
    driver.run(5, callback=send(signal.SIGINT), show_progress=False)
    assert driver.stop_reason is StopReason.INTERRUPTED
    assert driver.stop_message == "interrupted by SIGINT"


def test_a_program_that_starts_kernels_is_not_one(monkeypatch):
    """Jupyter's client imports ipykernel in the process that starts a kernel."""
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    with pytest.raises(KeyboardInterrupt):
        Halving().run(5, callback=send(signal.SIGTERM), show_progress=False)


def test_handlers_are_chained_and_put_back():
    received = []

    def mine(number, frame):
        received.append(number)

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with pytest.raises(KeyboardInterrupt):
            Halving().run(5, callback=send(signal.SIGTERM), show_progress=False)
        assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        driver = Halving()
        driver.run(3, callback=send(signal.SIGINT), show_progress=False)
        assert driver.step_count == 3
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_run_without_handlers():
    driver, handlers = Halving(), []
    look = LambdaCallback(on_run_start=lambda *_: handlers.append(signal.getsignal(signal.SIGINT)))
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: driver.run(2, callback=look, show_progress=False))
    thread.start()
    thread.join()
    assert (driver.step_count, handlers) == (2, [before])


PROGRAM = """
import os, signal, sys
from tests.driver.tools import Halving, at
number = int(sys.argv[1])
send = at(1, lambda driver: [os.kill(os.getpid(), number) for _ in range(int(sys.argv[2]))])
try:
    Halving().run(5, callback=send, show_progress=False)
finally:
    print("ended", flush=True)
"""


@pytest.mark.medium
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("times", [1, 2])
def test_a_program_ends_with_the_conventional_status(number, times):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(int(number)), str(times)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "ended\n"
    # Python ends itself with SIGINT, which shells turn into 130.
    assert done.returncode == (-2 if number == signal.SIGINT else 128 + number)
