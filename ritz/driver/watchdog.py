"""Lets no process wait for one that has failed.

A process that fails tells the others at the next point at which they gather. One that never comes
there, because it waits for the failed one in a computation on devices that both share, learns of it
from the key-value store of `jax.distributed`, and is ended.
"""

import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

_logger = logging.getLogger("ritz")

EVERY = 0.5
"""Seconds between two looks."""

PATIENCE = 10.0
"""Seconds in which a run must end by itself once a process has failed."""

LAST_PATIENCE = 4.0
"""Seconds that callbacks have for `on_run_error` after that."""

_FOLDER = "ritz/failed"
_runs: list[int] = []


def _client() -> Any:
    """The client of the key-value store; None if `jax.distributed` was not initialised."""
    from jax._src import distributed  # there is no public way to the store

    return distributed.global_state.client


def publish(text: str) -> None:
    """Say that this process has failed; the first text counts."""
    client = _client()
    if client is not None and _runs:
        key = f"{_FOLDER}/{_runs[-1]}/{jax.process_index()}"
        with contextlib.suppress(Exception):  # said already, or the store is gone
            client.key_value_set(key, text)


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
    _runs.append(_runs[-1] + 1 if _runs else 0)
    ended = threading.Event()
    watch = functools.partial(_watch, client, f"{_FOLDER}/{_runs[-1]}", ended, leave)
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
        with contextlib.suppress(Exception):  # the store is gone: JAX ends the process
            failed = "; ".join(text for _, text in sorted(client.key_value_dir_get(folder)))
    if ended.wait(PATIENCE):
        return
    _logger.critical("%s. This process waits for it in vain and is ended.", failed)
    _within(LAST_PATIENCE, functools.partial(leave, failed))
    _within(LAST_PATIENCE / 2, jax.distributed.shutdown)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Do something, but do not wait for it longer than that."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.1)
