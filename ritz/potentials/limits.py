"""Limits for reading files, so that a damaged or malicious one cannot exhaust memory or disk."""

import bz2
import collections
import gzip
import itertools
import json
import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ritz.types import JSON
from ritz.wording import counted

MOST_EXPANSION = 100
"""Largest compression ratio of a file; that of text with numbers is 3 to 20."""

ALWAYS_ALLOWED = 2**27
"""Size in bytes that any file may unpack to, 128 MiB."""

_OPENERS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_XYZ = (".xyz", ".extxyz")
_VASP = (".vasp", ".poscar")


def readable_members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """The files of a tar archive, one after another.

    Args:
        archive: The archive, open.
        path: Its path.

    Yields:
        Its files; folders are left out.

    Raises:
        ValueError: If it unpacks to too much, or has a member outside of itself, a link or a
            device.
    """
    total, most = 0, _most_bytes(path.stat().st_size)
    for member in archive:
        if member.isdir():
            continue
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(
                f"{path}, {member.name}: it is outside of the archive; unpack it yourself and give "
                "the files."
            )
        if not member.isfile():
            kind = "a link" if member.issym() or member.islnk() else "a device"
            raise ValueError(
                f"{path}, {member.name}: it is {kind}, and only files are read from archives; "
                "unpack it yourself and give the files."
            )
        total += member.size
        _check_size(path, total, most)
        yield member


def parse_json(text: str | bytes) -> JSON:
    """A JSON value.

    Raises:
        ValueError: If it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(
            f"the JSON is nested too deeply: at most about {sys.getrecursionlimit()} levels can be "
            "read."
        ) from None


def check_declared(path: Path, format: str | None = None) -> None:
    """Refuse a file that declares more atoms than it can hold, for which readers would look long.

    XYZ and POSCAR files are looked at, also compressed ones; others pass, and so do files that
    end early by less, which the reader tells if it gets there.

    Args:
        path: The file.
        format: ASE's name of the format; None tells it from the name.

    Raises:
        ValueError: With the frame and the number of atoms.
    """
    opener = _OPENERS.get(path.suffix)
    suffix = path.suffixes[-2] if opener and len(path.suffixes) > 1 else path.suffix
    vasp = suffix in _VASP or path.name.upper().startswith(("POSCAR", "CONTCAR"))
    is_xyz = suffix in _XYZ if format is None else format in ("xyz", "extxyz")
    is_vasp = vasp if format is None else format == "vasp"
    if not (is_xyz or is_vasp) or not path.is_file():
        return
    # The reader reports what cannot be unpacked or decoded.
    broken = OSError, EOFError, lzma.LZMAError, zlib.error
    with suppress(*broken), (opener or open)(path, "rb") as file:
        (_check_xyz if is_xyz else _check_poscar)(path, _Lines(file, path))


class _Lines:
    """The lines of a file, counted, up to the size that it may unpack to."""

    def __init__(self, file: IO[bytes], path: Path):
        self._file, self._path = file, path
        self._most = _most_bytes(path.stat().st_size)
        self.n_lines = self.n_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self._file.readline(self._most)
        if not line:
            raise StopIteration
        self.n_lines, self.n_bytes = self.n_lines + 1, self.n_bytes + len(line)
        _check_size(self._path, self.n_bytes, self._most)
        return line

    def check(self, what: str, declared: int) -> None:
        """Skip the lines of a number of atoms."""
        before = self.n_lines
        collections.deque(itertools.islice(self, declared), maxlen=0)
        if declared > self.n_bytes:
            raise ValueError(
                f"{what}: {counted(declared, 'atom', 'is')} declared, but "
                f"{counted(self.n_lines - before, 'line', 'follows')}."
            )


def _check_xyz(path: Path, lines: _Lines) -> None:
    for frame in itertools.count():
        line = next((x for x in lines if not x.lstrip().startswith(b"VEC")), b"")
        try:
            declared = int(line)
        except ValueError:  # the end, or an error that the reader reports
            return
        if declared < 0:
            raise ValueError(f"{path}, frame {frame}: {counted(declared, 'atom', 'is')} declared.")
        next(lines, b"")
        lines.check(f"{path}, frame {frame}", declared)


def _check_poscar(path: Path, lines: _Lines) -> None:
    for line in itertools.islice(lines, 5, 7):
        words = line.split(b"!")[0].split()
        if words and all(word.isdigit() for word in words):
            lines.check(str(path), sum(map(int, words)))
            return


def _most_bytes(size: int) -> int:
    return max(ALWAYS_ALLOWED, MOST_EXPANSION * size)


def _check_size(path: Path, total: int, most: int) -> None:
    if total > most:
        raise ValueError(
            f"{path} unpacks to more than {most / 2**20:.0f} MiB, {MOST_EXPANSION} times its size; "
            "unpack it yourself and give the files, if it is meant so."
        )
