"""Ctrl-C and SIGTERM during a run: finish the step first, and end at once only when pressed."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

_HANDLED = (signal.SIGINT, signal.SIGTERM)


class SignalGuard:
    """Takes note of the first signal and turns the second into KeyboardInterrupt at once.

    Used as a context manager around a run. Handlers are installed in the main thread only; a
    handler that somebody else had set is called too, and all are put back at the end. A signal
    that the process ignores stays ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._holding = False
        self._pending = False
        self._hold = _Hold(self)

    @property
    def message(self) -> str:
        """By what the run was interrupted."""
        if self.received is None:
            return "interrupted by a signal to another process"
        return f"interrupted by {self.received.name}"

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
                self._pending = True
            else:
                raise KeyboardInterrupt(f"second {signal.Signals(number).name}")

    def held(self) -> "_Hold":
        """A context that keeps a second signal back until it ends, so that an update is whole."""
        return self._hold


class _Hold:
    """See `SignalGuard.held`."""

    def __init__(self, guard: SignalGuard):
        self._guard = guard

    def __enter__(self) -> None:
        self._guard._holding = True

    def __exit__(self, *exc_info: object) -> None:
        guard = self._guard
        guard._holding = False
        if guard._pending:
            guard._pending = False
            raise KeyboardInterrupt("second signal during a parameter update")


def interactive() -> bool:
    """Whether a person sits at a Python prompt or a notebook."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
