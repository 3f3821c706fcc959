"""Where progress bars are drawn: a terminal, a log file, a notebook."""

import contextlib
import html
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm
from typing_extensions import override

from ritz.callbacks.bar_line import Progress, log_line, terminal_line
from ritz.notebook import Display, in_notebook

FIRST_LINE = 10.0
"""Seconds to the first line in a log file; the time between two doubles from line to line."""
_LONGEST_PAUSE = 600.0


def _writing() -> contextlib.AbstractContextManager[None]:
    """Context of writing, in which a stream that is full or closed is no error."""
    return contextlib.suppress(OSError, ValueError)


class Bar(tqdm):
    """A bar in a terminal, whose line fits the width of the window.

    A run goes on where the bar cannot be written, as on a full disk or into a closed pipe.
    """

    parts: tuple[str, ...] = ()

    @staticmethod
    @override
    def status_printer(file: TextIO) -> Callable[[str], None]:
        with _writing():
            return tqdm.status_printer(file)
        return lambda text: None

    @override
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        with _writing():
            super().display(msg, pos)

    @override
    def clear(self, nolock: bool = False) -> None:
        with _writing():
            super().clear(nolock)

    @override
    def close(self) -> None:
        with _writing():
            super().close()

    @property
    def progress(self) -> Progress:
        """What is to be shown."""
        form = self.format_dict
        done, elapsed = self.n - self.initial, form["elapsed"]
        rate = form["rate"]
        if not rate and self._has_speed:
            rate = done / elapsed if elapsed and done else None
        return Progress(self.n, self.total, elapsed, rate, form["unit"], self.parts)

    @property
    def _has_speed(self) -> bool:
        """Whether the time of a step is known; at the end that of the whole run is."""
        average = self._ema_dt  # type: ignore[attr-defined]
        return getattr(average, "calls", 1) > 0

    def begin(self, position: float) -> None:
        """Show the first position; the time to it, mostly compilation, does not count as speed."""
        self.n = self.last_print_n = position
        self.last_print_t = self._time()  # type: ignore[attr-defined]
        self.refresh()

    @override
    def __str__(self) -> str:
        form = self.format_dict
        return terminal_line(self.progress, max((form["ncols"] or 80) - 1, 20), form["ascii"])


class _OtherOutput(Bar):
    """A bar that is not drawn by moving the cursor."""

    @override
    def clear(self, nolock: bool = False) -> None:
        """There is nothing to make room for."""

    def finish(self) -> None:
        """Show the last position, or take the bar away."""

    @override
    def close(self) -> None:
        if not self.disable:
            self._ema_dt = lambda: 0.0  # in the end the rate of the whole run, as in a terminal
            self.finish()
            self.disable = True
            type(self)._decr_instances(self)  # type: ignore[attr-defined]


class LogLines(_OtherOutput):
    """Short lines of their own at growing intervals, for log files and pipes."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._pause = FIRST_LINE
        self._next = time.monotonic() + FIRST_LINE
        super().__init__(*args, **kwargs)

    @override
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._next = now + self._pause
            self._write()

    @override
    def finish(self) -> None:
        if self.leave:
            self._write()

    def _write(self) -> None:
        with _writing():
            self.fp.write(f"{log_line(self.progress)}\n")
            self.fp.flush()


class NotebookBar(_OtherOutput):
    """A bar in the output of a cell, which needs no widgets."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._display = Display()
        super().__init__(*args, **kwargs)

    @override
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        progress = self.progress
        line = log_line(progress)
        bar = f'<progress value="{progress.fraction:.4f}" max="1"></progress> '
        content = bar * bool(progress.total) + f"<code>{html.escape(line)}</code>"
        self._display.show({"text/html": content, "text/plain": line})

    @override
    def finish(self) -> None:
        if self.leave:
            self.display()
        else:
            self._display.show({"text/html": "", "text/plain": ""})


def redraws() -> bool:
    """Whether a bar is redrawn in its place, rather than written line by line."""
    return in_notebook() or _in_terminal()


def _in_terminal() -> bool:
    stream: TextIO | None = sys.stderr  # None in a process without one
    return stream is not None and not stream.closed and stream.isatty()


def new_bar(**settings: Any) -> Bar:
    """A bar for the present output; takes the arguments of `tqdm`."""
    kind = NotebookBar if in_notebook() else Bar if _in_terminal() else LogLines
    settings = {"unit": "step", **settings}
    if sys.stderr is None and kind is not NotebookBar:
        settings["disable"] = True
    return kind(dynamic_ncols=True, mininterval=0.0, miniters=1, file=sys.stderr, **settings)


class RoomForMessages(logging.Handler):
    """Clears a bar before a log message of Ritz is written; the next drawing puts it below.

    It comes before all other handlers of these messages, and where there is none it stands in for
    that of last resort, which Python uses only if there is no handler at all.
    """

    def __init__(self, bar: Bar):
        super().__init__()
        self._bar = bar
        self._logger = logging.getLogger("ritz")

    def start(self) -> None:
        """Begin to make room."""
        self._logger.handlers.insert(0, self)

    def stop(self) -> None:
        """Leave messages to the other handlers again."""
        self._logger.removeHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if not self._bar.disable:
            self._bar.clear()
        last = logging.lastResort
        if not self._is_handled(record.name) and last is not None and record.levelno >= last.level:
            last.handle(record)

    def _is_handled(self, name: str) -> bool:
        """Whether a message of the logger `name` reaches another handler."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(not isinstance(handler, RoomForMessages) for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False
