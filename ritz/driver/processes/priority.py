"""Keeps the thread that carries messages from interrupting the computation.

On CPUs Gloo carries messages in a thread that a message wakes. If it interrupts the computation
while that holds the lock of the connection, it asks for the lock until its time slice is over,
3 ms on Linux, for each of the few messages of a sum. Where a process has one core, sums took 15
times as long for that. Threads of the batch class do not interrupt others when they wake.
"""

import contextlib
import functools
import os
import threading
from pathlib import Path

import jax


@functools.cache
def let_computation_go_first() -> None:
    """Put the threads of this process, but those of Python, into the batch class of Linux.

    Does nothing on other systems, for a single process or other devices than CPUs, and to threads
    whose class somebody has chosen.
    """
    messages = jax.process_count() > 1 and jax.default_backend() == "cpu"
    if not messages or not hasattr(os, "SCHED_BATCH"):
        return
    python = {thread.native_id for thread in threading.enumerate()}
    batch, unchosen = os.SCHED_BATCH, os.SCHED_OTHER
    for thread in _threads():
        with contextlib.suppress(OSError):  # threads end, and systems forbid it
            if thread not in python and os.sched_getscheduler(thread) == unchosen:
                os.sched_setscheduler(thread, batch, os.sched_param(0))


def _threads() -> list[int]:
    try:
        return [int(folder.name) for folder in Path("/proc/self/task").iterdir()]
    except OSError:  # there is no such folder in some containers
        return []
