"""Text files of lines; a line that was cut off is ignored."""

import os
from pathlib import Path


class LineFile:
    """An append-only text file; every line is handed to the system at once, unless held.

    A line that was cut off when a process was killed has no newline, and readers leave it out.
    """

    def __init__(self, path: Path):
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._held: list[bytes] = []

    def append(self, line: bytes, hold: bool = False) -> None:
        """Write `line`, which ends in a newline; with `hold`, together with the next one."""
        self._held.append(line)
        if not hold:
            self.write_held()

    def write_held(self) -> None:
        """Write the lines that were held back."""
        content = memoryview(b"".join(self._held))
        self._held.clear()
        while content:  # a full disk accepts a part before it raises
            content = content[os.write(self._fd, content) :]

    def sync(self) -> None:
        """Write the lines that were held back, and flush the file to disk."""
        if self._held:
            self.write_held()
        os.fsync(self._fd)

    def empty(self) -> None:
        """Remove all lines from the file."""
        self._held.clear()
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._fd < 0:
            return
        fd = self._fd
        try:
            if self._held:
                self.write_held()
        finally:
            self._fd = -1
            os.close(fd)


def complete_lines(path: Path) -> list[bytes]:
    """The lines of a file, without their newlines and without a last one that was cut off."""
    if not path.exists():
        return []
    return path.read_bytes().split(b"\n")[:-1]


def set_aside(path: Path) -> None:
    """Move a file out of the way: `.damaged` is added to its name."""
    if path.exists():
        os.replace(path, path.with_name(path.name + ".damaged"))
