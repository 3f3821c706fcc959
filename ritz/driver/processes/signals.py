"""Signals during a run: the first lets it finish the step, the second ends it at once."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

from ritz.driver.processes.consensus import is_single_process
from ritz.notebook import in_notebook

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class RunInterrupted(KeyboardInterrupt, SystemExit):
    """A signal other than Ctrl-C ended a run.

    Where nobody catches it, the process ends with the status that shells use for the signal: 143
    for SIGTERM, 138 for SIGUSR1.

    Args:
        message: Text of the error.
        number: The signal.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.code = 128 + number


def _interruption(message: str, number: int) -> KeyboardInterrupt:
    if number == signal.SIGINT:
        return KeyboardInterrupt(message)
    return RunInterrupted(message, number)


class SignalGuard:
    """Takes note of the first signal and turns the second into an exception at once.

    SIGINT (Ctrl-C), SIGTERM and SIGUSR1, by which schedulers announce the end of a job, are
    handled. Used as a context manager around a run. Handlers are installed in the main thread
    only; a handler that somebody else had set is called too, and all are put back at the end. A
    signal that the process ignores stays ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The first signal to this process."""
        self.agreed_on: signal.Signals | None = None
        """The signal that ends the run, maybe to another process."""
        self._previous: dict[signal.Signals, Any] = {}
        self._holding = False
        self._pending = 0
        self.held = _Hold(self)
        """A context that keeps a second signal back until it ends, so that an update is whole."""

    @property
    def message(self) -> str:
        """Name of the signal that interrupted the run."""
        assert self.agreed_on is not None
        where = "" if self.received is not None else " to another process"
        return f"interrupted by {self.agreed_on.name}{where}"

    def agreed(self) -> bool:
        """Whether a signal is to end the run: to this process, or one that all know of."""
        if self.received is not None and is_single_process():
            self.agreed_on = self.received
        return self.agreed_on is not None

    def agree_on(self, number: int) -> None:
        """Note the signal of any process, which all processes know of."""
        self.agreed_on = signal.Signals(number)

    def interruption(self) -> KeyboardInterrupt:
        """The exception with which the interrupted run ends."""
        if self.agreed_on is None:  # it came after the last step
            self.agreed_on = self.received
        assert self.agreed_on is not None
        return _interruption(self.message, self.agreed_on)

    def __enter__(self) -> "SignalGuard":
        if threading.current_thread() is threading.main_thread():
            for number in _HANDLED:
                previous = signal.getsignal(number)
                # None: a handler that was not set from Python and could not be put back.
                if previous not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # a generator closed by another thread: only the main thread may set handlers
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None
        if first:
            self.received = signal.Signals(number)
        previous = self._previous.get(signal.Signals(number))
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)
        if not first:
            if self._holding:
                self._pending = number
            else:
                raise _interruption(f"second {signal.Signals(number).name}", number)


class _Hold:
    """Context manager that delays a second signal until it ends; see `SignalGuard.held`."""

    def __init__(self, guard: SignalGuard):
        self._guard = guard

    def __enter__(self) -> None:
        self._guard._holding = True

    def __exit__(self, *exc_info: object) -> None:
        guard = self._guard
        guard._holding = False
        if guard._pending:
            number, guard._pending = guard._pending, 0
            raise _interruption("second signal during a parameter update", number)


def interactive() -> bool:
    """Whether Python runs interactively, at a prompt or in a notebook."""
    return hasattr(sys, "ps1") or in_notebook()
