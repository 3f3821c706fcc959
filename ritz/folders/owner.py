"""The process that owns a run folder, and whether it is alive."""

import contextlib
import functools
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from ritz.types import JSON

Owner: TypeAlias = dict[str, JSON]
"""What a lock says of the process that holds it."""

_DEAD_STATES = "ZXx"
"""States in /proc/PID/stat of a process that has ended, see proc(5)."""
_STATE, _START = 0, 19
"""Places of state and start time in it, counted behind the name of the program."""
_LONGEST_COMMAND = 300


def present_process() -> Owner:
    """Description of this process as an owner, for `is_alive` and messages."""
    return process_here(os.getpid(), sys.argv)


def process_here(pid: int, arguments: Sequence[str]) -> Owner:
    """Description of a process of this machine that was begun just now, see `present_process`."""
    return {
        "host": socket.gethostname(),
        "place": _place(),
        "pid": pid,
        "start": _start_time(pid),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": _command(arguments)[:_LONGEST_COMMAND],
    }


def _command(arguments: Sequence[str]) -> str:
    """The command line of a process; `python -m ritz` is called `ritz`, as the command is."""
    if not arguments:
        return ""
    program = Path(arguments[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name or program.name, *arguments[1:]])


def is_here(owner: Owner) -> bool:
    """Whether the owner's process number can be looked up by this process."""
    return owner.get("place") == _place()


def rebooted(owner: Owner) -> bool:
    """Whether this machine was rebooted since the owner ran on it."""
    boot, _, _ = str(owner.get("place")).partition(" ")
    known = _boot() != "" and boot != ""
    return known and owner.get("host") == socket.gethostname() and boot != _boot()


def is_alive(owner: Owner) -> bool:
    """Whether the process still runs, for an owner that `is_here`.

    A process with the same number but another start time is a different one.
    """
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    started = _start_time(pid)
    return started is not None and started == owner.get("start")


def is_present_process(owner: Owner) -> bool:
    """Whether the owner is this very process."""
    return is_here(owner) and owner.get("pid") == os.getpid() and is_alive(owner)


@functools.cache
def _boot() -> str:
    """Identifies the time since this machine was started; empty if that is not known."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


@functools.cache
def _place() -> str:
    """Scope of process numbers: boot and namespace, or else the host's name."""
    try:
        return f"{_boot()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{_boot()} {socket.gethostname()}"


def _start_time(pid: int) -> str | None:
    """When a process was started, in whatever form the system tells it; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _asked_start_time(pid)
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE] in _DEAD_STATES else fields[_START]


def _asked_start_time(pid: int) -> str | None:
    """Start time of a process on systems without /proc."""
    try:
        done = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True
        )
    except OSError:
        return None
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or "Z" in state else started.strip()
