"""Signals to the command while no run handles them: when it starts, and when it reports."""

import _thread
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from ritz.cli.processes import is_told

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_PATIENCE = 0.05
"""Seconds between two looks at whether the exception still travels."""


class Interrupted(KeyboardInterrupt):
    """A signal ends the command."""


class CommandSignals:
    """Turns SIGINT (Ctrl-C), SIGTERM and SIGUSR1 into an exception that cannot get lost.

    It is held back while a module is imported, since modules in C++ abort the process if imports
    within them fail. Where a callback of the garbage collector, a finaliser or a library swallows
    it, it is raised again. A run handles its signals itself.

    Used as a context manager, which installs handlers in the main thread only, in the place of
    Python's own, and puts these back: signals that the process ignores stay ignored, and a handler
    that a program has set stays.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The last signal that ended the command."""
        self._taken = False
        """Whether a run has been given the last signal."""
        self._raised: weakref.ref[Interrupted] | None = None
        self._previous: dict[signal.Signals, signal._HANDLER] = {}
        self._previous_hook: Any = None
        self._over = self._watching = False
        """Whether signals no longer matter, and whether a thread raises them anew."""

    @property
    def message(self) -> str:
        """By what the command was interrupted."""
        if self.received in (None, signal.SIGINT):
            return "interrupted"
        return f"interrupted by {self.received.name}"

    def __enter__(self) -> "CommandSignals":
        if threading.current_thread() is threading.main_thread():
            self._previous_hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            for number in _HANDLED:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over = True
        while self._watching:  # or else its signal would meet the handlers of before
            time.sleep(_PATIENCE / 10)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()
        if self._previous_hook is not None:
            sys.unraisablehook, self._previous_hook = self._previous_hook, None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if signal.getsignal(number) != self._handle:
            self._taken = True  # by a run, whose handler calls this one
            return
        if self._over:
            return
        self.received, self._taken = signal.Signals(number), False
        if not self._watching:
            self._watching = True
            _thread.start_new_thread(self._insist, ())  # takes no lock of `threading`
        if _importing(frame):
            return
        error = Interrupted(self.message)
        self._raised = weakref.ref(error)
        try:
            raise error
        finally:
            del error  # which the traceback would keep alive

    def _insist(self) -> None:
        """Signal again while the exception is held back, and where it was swallowed."""
        while True:
            time.sleep(_PATIENCE)
            if self._over or self._taken:
                break
            if self._raised is None or self._raised() is None:
                assert self.received is not None
                _thread.interrupt_main(self.received)
        self._watching = False

    def _unraisable(self, args: "sys.UnraisableHookArgs") -> None:
        """Nothing is to be said of an interruption that is raised again."""
        if not isinstance(args.exc_value, Interrupted):
            self._previous_hook(args)


def _importing(frame: FrameType | None) -> bool:
    """Whether the command is importing a module."""
    while frame is not None and frame.f_code is not interruptible.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def interruptible(action: Callable[[], int]) -> int:
    """Do it, and tell of a signal that ends it.

    Args:
        action: What the command does; returns its exit status.

    Returns:
        Its status, or 128 + the number of the signal.
    """
    with CommandSignals() as signals:
        try:
            return action()
        except BaseException as error:
            if signals.received is None and not isinstance(error, KeyboardInterrupt):
                raise
            told = is_told(error)
            message, status = str(error) or signals.message, getattr(error, "code", 130)
            if signals.received is not None:
                message, status = signals.message, 128 + signals.received
    if not told:
        sys.stderr.write(f"ritz: {message}\n")
    return status
