"""The lock by which a folder belongs to one run at a time."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from ritz.folders.heartbeat import INTERVAL, PATIENCE, Heartbeat
from ritz.folders.owner import (
    Owner,
    is_alive,
    is_here,
    is_present_process,
    present_process,
    rebooted,
)

_logger = logging.getLogger(__name__)

FILE = "run.lock"
"""File in a folder with its owner, and the way its last run ended."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
"""Error numbers of file systems without `flock`."""
_LONGEST_AGE = 600.0
"""Seconds without a heartbeat after which a run on another machine counts as dead."""
_SETTLING = 0.2
"""Seconds in which of two takers on a file system without `flock` the later one wins."""


class FolderInUseError(ValueError):
    """The folder belongs to another run that is still going on."""


@dataclasses.dataclass
class _Hold:
    """A lock that this process has taken."""

    thread: int
    token: str
    before: Owner | None
    """Former content of the file."""
    made: list[Path]
    """Folders that were made for the lock."""
    depth: int = 1
    ended: Owner | None = None


_held: dict[tuple[int, str], _Hold] = {}
"""(process number, folder) -> hold; a forked child has none of its parent's."""
_guard = threading.RLock()
_heartbeat = Heartbeat()


class FolderLock:
    """Locks a folder for one run; others are refused until it has ended.

    The file `run.lock` names host, process with its start time, and command. It stays when the
    process is killed, and is taken over then: a process number of this machine is looked up, and
    a run on another machine counts as dead if it has not touched the file for `PATIENCE` seconds
    while this process looks on. Of several takers one wins. A copied folder belongs to nobody.

    Args:
        folder: The folder; made if it is missing.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).absolute()
        self.path = self.folder / FILE

    @property
    def _key(self) -> tuple[int, str]:
        return os.getpid(), str(self.folder.resolve())

    def acquire(self, within: bool = False) -> None:
        """Lock the folder.

        Args:
            within: Whether this is part of the run for which this thread may have taken it
                already.

        Raises:
            FolderInUseError: If another run has it, with which one and what to do.
            OSError: If the folder cannot be written.
        """
        with _guard:
            hold = _held.get(self._key)
            if within and hold is not None and hold.thread == threading.get_ident():
                hold.depth += 1
                return
            missing = [f for f in (self.folder, *self.folder.parents) if not f.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._open() as (file, exclusive):
                before = _read(file)
                if before is not None and self._is_taken(before):
                    raise FolderInUseError(self._refusal(before))
                token = uuid.uuid4().hex
                inode = os.fstat(file).st_ino
                _write(file, {"token": token, "inode": inode, **present_process(), "ended": None})
            if not exclusive:
                time.sleep(_SETTLING)
                found = read_lock(self.folder)
                if found is None or found["token"] != token:
                    raise FolderInUseError(self._refusal(found or {}))
            _held[self._key] = _Hold(threading.get_ident(), token, before, missing)
            _heartbeat.add(self.path)

    def release(self, ended: Owner | None) -> None:
        """Unlock the folder.

        Args:
            ended: How the run ended, which is kept in the file; None if there was no run, and
                then the file says again what it said before.
        """
        with _guard:
            hold = _held.get(self._key)
            if hold is None:
                return
            hold.depth -= 1
            hold.ended = ended or hold.ended
            if hold.depth:
                return
            del _held[self._key]
            _heartbeat.remove(self.path)
            with contextlib.suppress(OSError):
                self._give_back(hold)

    def _give_back(self, hold: _Hold) -> None:
        if not self.path.exists():
            return  # the folder was moved away
        with self._open() as (file, _):
            found = _read(file)
            if found is None or found.get("token") != hold.token:
                return
            if hold.ended is not None:
                _write(file, {**found, "ended": hold.ended})
            elif hold.before is not None:
                _write(file, hold.before)
            else:
                self.path.unlink()
        if hold.ended is None:
            for folder in hold.made:  # those in which a refused run has left nothing
                folder.rmdir()

    @contextlib.contextmanager
    def held(
        self, ended: Callable[[], Owner | None] = lambda: None, within: bool = False
    ) -> Iterator[None]:
        """The lock, as a context manager.

        Args:
            ended: Called at the end, see `release`.
            within: See `acquire`.

        Raises:
            FolderInUseError: See `acquire`.
        """
        self.acquire(within)
        try:
            yield
        finally:
            self.release(ended())

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[int, bool]]:
        """The file, and whether no other process can change it meanwhile."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                exclusive = _exclude(file)
                if _is_at(file, self.path):
                    yield file, exclusive
                    return
            finally:
                os.close(file)

    def _is_taken(self, owner: Owner) -> bool:
        """Whether the run that is named in the file goes on."""
        if owner.get("ended") is not None:
            return False
        if is_present_process(owner):
            return self._key in _held  # or else from before this process replaced its program
        if is_here(owner):
            return is_alive(owner)
        return not rebooted(owner) and self._beats(owner)

    def _beats(self, owner: Owner) -> bool:
        """Whether a run on another machine still touches the file."""
        first = os.stat(self.path).st_mtime_ns
        if time.time() - first / 1e9 > _LONGEST_AGE:
            return False
        _logger.info(
            "Looking for up to %g s whether the run in %s, on %s, is alive.",
            PATIENCE,
            self.folder,
            owner.get("host"),
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(min(INTERVAL / 5, PATIENCE / 10))
            with open(self.path, "rb") as file:  # opening makes network file systems look anew
                if os.fstat(file.fileno()).st_mtime_ns != first:
                    return True
        return False

    def _refusal(self, owner: Owner) -> str:
        who = f"process {owner.get('pid', '?')} on {owner.get('host', 'another machine')}"
        command = f" ({owner['command']})" if owner.get("command") else ""
        return (
            f"{self.folder} belongs to a run that goes on: {who}, since "
            f"{owner.get('began', 'just now')}{command}. Wait until it ends, stop it, or choose "
            "another folder."
        )


def read_lock(folder: str | Path, *, copied: bool = False) -> Owner | None:
    """Content of the lock of a folder: its last owner, and `ended`; None if there is none.

    Args:
        folder: The folder.
        copied: Whether a lock that was copied there with its folder is read too. It tells who
            worked at the original, but owns nothing.
    """
    for _ in range(3):  # another process may be writing it
        try:
            file = os.open(Path(folder) / FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = _read(file, copied=copied)
        except OSError:  # a folder is there
            return None
        finally:
            os.close(file)
        if found is not None:
            return found
        time.sleep(0.01)
    return None


def owner_is_alive(owner: Owner, folder: str | Path) -> bool | None:
    """Whether the run that is named in the lock of a folder goes on, without waiting for it.

    Returns:
        None if its machine is another one and its last heartbeat is neither new nor old.
    """
    if owner.get("ended") is not None or rebooted(owner):
        return False
    if is_here(owner):
        return is_alive(owner)
    age = time.time() - (Path(folder) / FILE).stat().st_mtime
    return True if age < PATIENCE else False if age > _LONGEST_AGE else None


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _exclude(file: int) -> bool:
    """Keep other processes out until the file is closed; False if the file system cannot."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _read(file: int, *, copied: bool = False) -> Owner | None:
    """Content of the file; None if it is empty or damaged, or a copy unless these count too."""
    try:
        found = json.loads(os.pread(file, 1 << 16, 0))
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return found if copied or found.get("inode") == os.fstat(file).st_ino else None


def _write(file: int, content: Owner | None) -> None:
    data = b"" if content is None else json.dumps(content, indent=2).encode() + b"\n"
    os.ftruncate(file, 0)
    os.pwrite(file, data, 0)
