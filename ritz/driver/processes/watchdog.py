"""Ends processes that would wait forever for one that has failed.

A process that fails says so in the key-value store of `jax.distributed`, where the others look now
and then, and joins them at the next gather once all of them wait there. If they never come there,
because they wait for it in a computation on devices of all processes, it leaves alone, and they are
ended. For one that was killed, process 0 says so; see `lifeline`.
"""

import atexit
import contextlib
import functools
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from ritz.driver.processes import lifeline
from ritz.driver.processes.priority import let_computation_go_first

_logger = logging.getLogger("ritz")

EVERY = 0.5
"""Seconds between two checks of the store."""

MEETING = 6.0
"""Seconds that a process which has failed waits for the others to come to a gather."""

PATIENCE = 9.0
"""Seconds in which a run must end by itself once a process has failed."""

COMMAND_PATIENCE = 18.0
"""Seconds in which a command must end by itself once a process has failed."""

LAST_PATIENCE = 4.0
"""Seconds that callbacks have for `on_run_error` after that."""

AT_EXIT = 5.0
"""Seconds that JAX may wait at exit for lost processes, instead of minutes."""


class _Progress:
    """Gather at which this process waits, if any."""

    def __init__(self) -> None:
        self.runs = 0
        self.gathers = 0
        self.waits = False

    @property
    def folder(self) -> str:
        return f"ritz/{self.runs}"

    def report(self, client: Any) -> None:
        """Publish the gather at which this process waits, if it does."""
        if self.waits:
            key = f"{self.folder}/waits/{self.gathers}/{jax.process_index()}"
            with contextlib.suppress(Exception):  # said already
                client.key_value_set(key, "")


_progress = _Progress()


def _client() -> Any:
    """The client of the key-value store; None if `jax.distributed` was not initialised."""
    from jax._src import distributed  # there is no public way to the store

    return distributed.global_state.client


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A gather, in which this process waits for the others."""
    if not _progress.waits:
        _progress.gathers += 1
    _progress.waits = True
    try:
        yield
    finally:
        _progress.waits = False


def publish(text: str) -> None:
    """Publish that this process has failed; only the first text is kept."""
    client = _client()
    if client is not None:
        key = f"{_progress.folder}/failed/{jax.process_index()}"
        with contextlib.suppress(Exception):  # said already, or the store is gone
            client.key_value_set(key, text)


def told_by_others() -> str:
    """What other processes that have failed said, in this run or before it; empty if none has."""
    client, own = _client(), str(jax.process_index())
    found: list[str] = []
    if client is not None:
        with contextlib.suppress(Exception):  # the store is gone
            for key, text in client.key_value_dir_get("ritz/"):
                kind, rank = key.split("/")[-2:]
                found += [text] * (kind == "failed" and rank != own)
    return "; ".join(dict.fromkeys(found))


def lost(patience: float = 0.0) -> str:
    """What is told of processes that were killed; empty if nothing is told in so many seconds."""
    client, deadline = _client(), time.monotonic() + patience
    while client is not None:
        found = _values(client, lifeline.LOST)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(EVERY / 5)
    return ""


def _values(client: Any, folder: str) -> str:
    """All that is said in a folder of the store."""
    with contextlib.suppress(Exception):  # the store is gone: JAX ends the process
        return "; ".join(text for _, text in sorted(client.key_value_dir_get(folder)))
    return ""


def meet() -> bool:
    """Whether all processes have come to the next gather of this one, which has failed."""
    client = _client()
    if client is None:
        return True
    _progress.gathers += 1
    _progress.waits = True  # `waiting` goes on from here
    _progress.report(client)
    folder = f"{_progress.folder}/waits/{_progress.gathers}"
    deadline = time.monotonic() + MEETING
    while time.monotonic() < deadline and not lost():
        with contextlib.suppress(Exception):
            if len(client.key_value_dir_get(folder)) == jax.process_count():
                return True
        time.sleep(EVERY / 5)
    _progress.waits = False
    note_loss()
    return False


@functools.cache
def note_loss() -> None:
    """Note that another process is lost: this one is not to wait for it when it exits."""

    def end() -> None:
        time.sleep(AT_EXIT)
        os._exit(1)

    if _client() is not None:
        atexit.register(lambda: threading.Thread(target=end, daemon=True).start())


@contextlib.contextmanager
def guard(leave: Callable[[str], None]) -> Iterator[None]:
    """Watch over a run: if it does not end soon after a process has failed, end this process.

    Args:
        leave: Called then with what the failed processes said, in a thread of its own.
    """
    client = _client()
    if client is None or jax.process_count() == 1:
        yield
        return
    lifeline.tie()
    let_computation_go_first()
    _progress.runs += 1
    ended = threading.Event()
    watch = functools.partial(_watch, client, _progress.folder, ended, leave)
    threading.Thread(target=watch, name="ritz watchdog", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(client: Any, folder: str, ended: threading.Event, leave: Callable[[str], None]) -> None:
    failed = ""
    while not failed:
        if ended.wait(EVERY):
            return
        for place in (lifeline.LOST, f"{folder}/failed", lifeline.LEFT):
            failed = failed or _values(client, place)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        _progress.report(client)
        if ended.wait(EVERY / 5):
            return
    _end_process(failed, leave)


@contextlib.contextmanager
def guard_command() -> Iterator[None]:
    """Watch over a whole command, which may compute with others before its run and after it.

    If it does not end soon after another process has failed, end this process; also if it waits for
    one that has ended. A run that goes on is ended by `guard` before, in an orderly way.
    """
    client = _client()
    if client is None or jax.process_count() == 1:
        yield
        return
    lifeline.tie()
    let_computation_go_first()
    ended = threading.Event()

    def watch() -> None:
        deadline = math.inf
        while not ended.wait(2 * EVERY):
            failed = told_by_others() or _values(client, lifeline.LEFT) * _progress.waits
            if failed:
                _progress.report(client)  # a process that has failed comes there
            deadline = min(deadline, time.monotonic() + COMMAND_PATIENCE) if failed else math.inf
            if time.monotonic() > deadline:
                _end_process(failed)

    threading.Thread(target=watch, name="ritz command watchdog", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _end_process(failed: str, leave: Callable[[str], None] = lambda failed: None) -> None:
    """End this process, which waits for one that has failed."""
    _logger.critical("%s. This process waits for it in a computation and is ended.", failed)
    _within(LAST_PATIENCE, functools.partial(leave, failed))
    lifeline.say_bye()
    _within(LAST_PATIENCE / 2, jax.distributed.shutdown)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Call a function in a thread, and wait for it at most this long."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
