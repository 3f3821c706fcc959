"""One run of a sweep: its commands, each a process of its own."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ritz.folders.files import atomic_write
from ritz.folders.lock import owner_is_alive, read_lock
from ritz.folders.owner import is_alive, is_here, process_here
from ritz.sweeps.plan import PlannedRun
from ritz.sweeps.record import (
    FAILED,
    FINISHED,
    KILLED,
    RUNNING,
    STOPPED,
    WAITING,
    Outcome,
    read_record,
    write_record,
)
from ritz.sweeps.resources import Resources
from ritz.wording import counted

OUTPUT = "output.txt"
"""File of a run folder with what its commands have printed."""

STARTED = "started.json"
"""File of a run folder, while a command goes on, with its process: it locks the folder later."""

_KILLED = tuple(
    128 + number for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
)
"""Statuses of commands that a signal has ended; below 0 are those that did not handle it."""
_LOOKS_EVERY = 1.0
"""Seconds between two looks at a folder in which another run goes on."""
PATIENCE = 60.0
"""Seconds that commands have to save their run when the sweep is stopped."""


class _Children:
    """The commands that this process has started."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._at_work: set[str] = set()
        self.stopped = False

    @property
    def at_work(self) -> list[str]:
        """The names of runs of which not all is noted yet."""
        with self._guard:
            return sorted(self._at_work)

    @contextlib.contextmanager
    def work(self, name: str) -> Iterator[None]:
        """Context manager around a run of this name, until its outcome is noted."""
        with self._guard:
            self._at_work.add(name)
        try:
            yield
        finally:
            with self._guard:
                self._at_work.discard(name)

    def start(
        self, line: Sequence[str], resources: Resources, output: int
    ) -> "subprocess.Popen[bytes]":
        """Start a command; it is told to end at once if the sweep was stopped meanwhile."""
        environment = {**os.environ, **resources.environment}
        with self._guard:
            child = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the sweep, which tells the runs
            )
            self._running.add(child)
            if self.stopped:
                child.terminate()
        resources.pin(child.pid)
        return child

    def forget(self, child: "subprocess.Popen[bytes]") -> None:
        """Note that a command has ended."""
        with self._guard:
            self._running.discard(child)

    def stop(self) -> None:
        """Have all commands save their runs and end."""
        self.stopped = True
        with self._guard:
            for child in self._running:
                with contextlib.suppress(OSError):
                    child.send_signal(signal.SIGTERM)


children = _Children()


def stop_commands(patience: float) -> list[str]:
    """Have the commands of this process save their runs and end, and start no others.

    Args:
        patience: For how many seconds they are waited for.

    Returns:
        The names of runs that have not ended by then, and go on.
    """
    children.stop()
    deadline = time.monotonic() + patience
    while children.at_work and time.monotonic() < deadline:
        time.sleep(0.1)
    return children.at_work


def dask_setup(worker: object) -> None:
    """Ignore Ctrl-C, which goes to all processes of a terminal; the sweep tells its workers.

    Dask calls it where a worker begins that loads this module.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def execute(
    run: PlannedRun,
    resources: Resources,
    program: Sequence[str],
    retries: int,
    before: Outcome | None = None,
    part: Sequence[str] | None = None,
    *,
    again: bool = False,
) -> Outcome:
    """Run the commands of a run one after the other, from where they were.

    Args:
        run: The run.
        resources: Cores and GPU.
        program: What executes commands, such as `python -m ritz`.
        retries: How often a command is started again that a signal has ended.
        before: Outcome of the run with whose state it begins.
        part: Settings with which the first command is only a part of the run; the others wait.
        again: Whether it is tried again if it has failed or was given up.

    Returns:
        How far it is, which is noted in its folder.
    """
    known = read_record(run)
    if known is not None and known.stays(again=again, halving=False):
        return known  # by a worker that has died since
    starts = 0 if known is None else known.starts
    if before is not None and before.state != FINISHED:
        reason = f"it begins with the state of {before.name}, which is {before.state}"
        return Outcome(run.name, WAITING, reason, starts=starts)
    if children.stopped:
        return Outcome(run.name, WAITING, "the sweep was stopped", starts=starts)
    begin = time.monotonic() - (0.0 if known is None else known.seconds)
    state, message, n_again = FINISHED, "", 0

    def note_start() -> None:
        nonlocal starts
        starts += 1
        write_record(run, Outcome(run.name, RUNNING, "", time.monotonic() - begin, starts))

    with children.work(run.name):
        for command in run.commands if part is None else [(*run.commands[0], *part)]:
            line = [*program, *command, "--progress=false"]
            before_it = starts
            state, message = _command(line, run.folder, resources, retries, note_start)
            n_again += max(starts - before_it - 1, 0)
            if state != FINISHED:
                break
        if n_again and state == FINISHED:
            message = f"a signal ended it, and it was started again {counted(n_again, 'time')}"
        outcome = Outcome(run.name, state, message, time.monotonic() - begin, starts)
        is_part = part is not None and state == FINISHED
        write_record(run, outcome._replace(state=WAITING) if is_part else outcome)
    return outcome


def _command(
    line: Sequence[str],
    folder: Path,
    resources: Resources,
    retries: int,
    note_start: Callable[[], None],
) -> tuple[str, str]:
    """Run one command; returns state and message.

    A start is noted before it, so that it counts if this process is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    status = 0
    for _ in range(retries + 1):
        _wait_for(folder)
        if children.stopped:
            return STOPPED, "the sweep was stopped"
        note_start()
        with open(folder / OUTPUT, "ab") as output:
            output.write(f"$ {shlex.join(line)}\n".encode())
            output.flush()
            child = children.start(line, resources, output.fileno())
            started = json.dumps(process_here(child.pid, line))
            atomic_write(folder / STARTED, started.encode())
            try:
                status = child.wait()
            finally:
                children.forget(child)
        (folder / STARTED).unlink(missing_ok=True)
        if status == 0:
            return FINISHED, ""
        if children.stopped:
            return STOPPED, "the sweep was stopped"
        if status > 0 and status not in _KILLED:
            return FAILED, _last_line(folder / OUTPUT)
    number = -status if status < 0 else status - 128
    name = signal.Signals(number).name
    return KILLED, f"it was ended by {name}, at the last of {retries + 1} starts"


def _wait_for(folder: Path) -> None:
    """Wait for a run that goes on in the folder, such as one of a sweep that was killed."""
    while not children.stopped and goes_on(folder):
        time.sleep(_LOOKS_EVERY)


def goes_on(folder: Path) -> bool:
    """Whether a process works in a run folder."""
    owner = read_lock(folder)
    return bool(owner is not None and owner_is_alive(owner, folder)) or _begins(folder)


def _begins(folder: Path) -> bool:
    """Whether a command of this machine that has not locked the folder yet goes on."""
    with contextlib.suppress(OSError, ValueError):
        started = json.loads((folder / STARTED).read_text())
        return is_here(started) and is_alive(started)
    return False


def _last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").splitlines()
    said = [line for line in lines if line.startswith("ritz: ")] or lines
    return said[-1].removeprefix("ritz: ") if said else "it failed, and said nothing"
