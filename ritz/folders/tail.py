"""Reads the first, last or sampled lines of long files."""

import os
from collections.abc import Iterator
from pathlib import Path

_STEP = 1 << 16
_BLOCK = 1 << 20


def first_line(path: Path) -> bytes:
    """The first line of a file, without its newline."""
    with open(path, "rb") as file:
        return file.readline().rstrip(b"\n")


def last_line(path: Path) -> bytes | None:
    """The last complete line of a file, without its newline; None if there is none."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            text = b""
            while end > 0:
                start = max(0, end - _STEP)
                text = os.pread(file.fileno(), end - start, start) + text
                end = start
                lines = text.split(b"\n")
                if len(lines) > 2 or (len(lines) == 2 and start == 0):
                    return lines[-2]
    except FileNotFoundError:
        pass
    return None


def blocks_backwards(path: Path) -> Iterator[bytes]:
    """The complete lines of a file in blocks, beginning with the last block.

    Yields:
        Whole lines in their order, each with its newline.
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest, complete = b"", False
        while end > 0:
            start = max(0, end - _BLOCK)
            block = os.pread(file.fileno(), end - start, start) + rest
            end = start
            if not complete:  # a last line that was cut off
                block = block[: block.rfind(b"\n") + 1]
                complete = bool(block)
            begin = block.find(b"\n") + 1 if start > 0 else 0  # before it, the end of a line
            rest, block = block[:begin], block[begin:]
            if block:
                yield block


def complete_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file one by one, without a last one that was cut off."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        pass


def sampled_lines(path: Path, most: int) -> list[bytes]:
    """Lines spread over a file, in order: all of them, or about `most` if it has more.

    The first line is left out; the last complete one is there.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.readline()
        begin = file.tell()
        if size - begin <= most * max(40, len(header)):
            return [line[:-1] for line in file if line.endswith(b"\n")]
        found: list[bytes] = []
        for number in range(most):
            place = begin + (size - begin) * number // most
            if place < file.tell() and number:
                continue
            file.seek(place)
            if number:
                file.readline()  # most likely an incomplete line
            line = file.readline()
            if line.endswith(b"\n"):
                found.append(line[:-1])
    last = last_line(path)
    if last is not None and last not in found[-1:]:
        found.append(last)
    return found
