"""Single columns of a log in JSON layout, without reading the whole document."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

_CHUNK = 1 << 20
_LONGEST_NAME = 1 << 16
_DEEPEST = 32
_SPACE = b" \t\r\n"
_SPACES = (b" ", b"\t", b"\r", b"\n")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Span(NamedTuple):
    """Position of an array in the file: the byte after its `[`, and its `]`."""

    start: int
    end: int


Node = dict[str, Any] | list[Any] | Span
"""The document, with arrays of numbers or strings as spans."""


class JSONColumns:
    """Finds all arrays of a document, and reads them on demand.

    Numbers hold no brackets, so that a search for the next one skips a whole array.

    Args:
        path: The file.

    Raises:
        ValueError: If it is not a log in JSON layout.
    """

    def __init__(self, path: Path):
        self.path = path
        with open(path, "rb") as file:
            self._file = file.fileno()
            try:
                self.tree, _ = self._node(self._behind_space(0), 0)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path} is no log in JSON layout: {error}") from error
        if not isinstance(self.tree, dict):
            raise ValueError(f"{path} is no log in JSON layout: it is no object")

    def read(self, span: Span) -> np.ndarray:
        """All numbers of an array; null is NaN."""
        with open(self.path, "rb") as file:
            self._file = file.fileno()
            parts = [np.array(orjson.loads(text), float) for text in self._pieces(span)]
        return np.concatenate(parts) if parts else np.empty(0)

    def first(self, span: Span) -> float:
        """The first number of an array.

        Raises:
            ValueError: If there is none.
        """
        with open(self.path, "rb") as file:
            text = os.pread(file.fileno(), min(100, span.end - span.start), span.start)
        return float(text.partition(b",")[0])

    def last(self, span: Span) -> float:
        """The last number of an array.

        Raises:
            IndexError: If it is empty.
        """
        with open(self.path, "rb") as file:
            start = max(span.start, span.end - 100)
            text = os.pread(file.fileno(), span.end - start, start)
        cell = text.rpartition(b",")[2].strip()
        if not cell:
            raise IndexError("an empty array has no last number")
        return float("nan") if cell == b"null" else float(cell)

    def _pieces(self, span: Span) -> Iterator[bytes]:
        """The array in pieces, each of which ends where a number ends."""
        rest, place = b"", span.start
        while place < span.end:
            text = rest + os.pread(self._file, min(_CHUNK, span.end - place), place)
            place += len(text) - len(rest)
            whole, _, rest = text.rpartition(b",") if place < span.end else (text, b"", b"")
            if whole.strip():
                yield b"[" + whole + b"]"

    def _node(self, at: int, depth: int) -> tuple[Node, int]:
        """The value that begins at byte `at`, and the position of its end."""
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        first = os.pread(self._file, 1, at)
        if first == b"{":
            return self._object(at, depth)
        if first != b"[":
            raise ValueError(f"byte {at}: an object or array is needed, but {first!r} stands")
        inner = self._behind_space(at + 1)
        if os.pread(self._file, 1, inner) == b"{":
            return self._list(inner, depth)
        return self._array(at, inner)

    def _object(self, at: int, depth: int) -> tuple[Node, int]:
        found: dict[str, Node] = {}
        at = self._behind_space(at + 1)
        if os.pread(self._file, 1, at) == b"}":
            return found, at + 1
        while True:
            name = _STRING.match(os.pread(self._file, _LONGEST_NAME, at))
            if name is None:
                raise ValueError(f"byte {at}: a name is needed")
            at = self._behind_space(at + name.end())
            if os.pread(self._file, 1, at) != b":":
                raise ValueError(f"byte {at}: a colon is needed")
            value, at = self._node(self._behind_space(at + 1), depth + 1)
            found[json.loads(name[0])] = value
            more, at = self._goes_on(at, b"}")
            if not more:
                return found, at

    def _list(self, at: int, depth: int) -> tuple[Node, int]:
        found: list[Node] = []
        while True:
            value, at = self._node(at, depth + 1)
            found.append(value)
            more, at = self._goes_on(at, b"]")
            if not more:
                return found, at

    def _goes_on(self, at: int, end: bytes) -> tuple[bool, int]:
        at = self._behind_space(at)
        mark = os.pread(self._file, 1, at)
        if mark == b",":
            return True, self._behind_space(at + 1)
        if mark != end:
            raise ValueError(f"byte {at}: {mark!r} stands, but a comma or {end!r} is needed")
        return False, at + 1

    def _array(self, at: int, inner: int) -> tuple[Span, int]:
        """An array of numbers, strings, or arrays of numbers."""
        depth = 1
        while os.pread(self._file, 1, inner) == b"[":
            depth, inner = depth + 1, self._behind_space(inner + 1)
        if os.pread(self._file, 1, inner) == b'"':
            end = self._end_of_strings(inner)
        else:
            end = self._end_of_numbers(inner, depth)
        return Span(at + 1, end), end + 1

    def _end_of_numbers(self, at: int, depth: int) -> int:
        """Position of the end of nested arrays of numbers."""
        end = self._find(b"]", at)
        if depth == 1:
            return end
        if os.pread(self._file, 1, end + 1) not in _SPACES:
            return self._find(b"]" * depth, end) + depth - 1
        while True:  # each bracket on a line of its own
            closed, last = 1, end
            while closed < depth and os.pread(self._file, 1, self._behind_space(last + 1)) == b"]":
                closed, last = closed + 1, self._behind_space(last + 1)
            if closed == depth:
                return last
            end = self._find(b"]", end + 1)

    def _end_of_strings(self, at: int) -> int:
        while True:
            text = os.pread(self._file, _LONGEST_NAME, at)
            string = _STRING.match(text) or re.match(rb"null", text)
            if string is None:
                raise ValueError(f"byte {at}: a string is needed")
            more, after = self._goes_on(at + string.end(), b"]")
            if not more:
                return after - 1
            at = after

    def _find(self, needle: bytes, at: int) -> int:
        while True:
            text = os.pread(self._file, _CHUNK, at)
            place = text.find(needle)
            if place >= 0:
                return at + place
            if len(text) < _CHUNK:
                raise ValueError("it ends within an array")
            at += len(text) - len(needle) + 1

    def _behind_space(self, at: int) -> int:
        while True:
            text = os.pread(self._file, 64, at)
            left = text.lstrip(_SPACE)
            if left or not text:
                return at + len(text) - len(left)
            at += len(text)
