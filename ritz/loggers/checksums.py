"""Checksums of the rows of a log, with which a resumed run checks them."""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ritz.loggers.history import Histories, History
from ritz.types import State
from ritz.wording import counted


class RowsLostError(ValueError):
    """A log lacks rows that a checkpoint counts on, or they were changed."""


class _Sum(NamedTuple):
    checksum: int
    rows: int
    kind: str
    known: bool
    """Whether there is any value: a field that appears later counts from then on."""


class RowSums:
    """The checksums of all columns of a log, which follow it as it grows.

    Values count as a log in JSON has them: whole numbers as floats, all that is not finite as NaN.
    """

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}

    def account(self, tree: Histories, step: int) -> State:
        """The number of rows before `step`, and their checksum; costs as much as the rows added.

        Args:
            tree: The histories, the same ones at every call, with rows added.
            step: The first step that does not count.
        """
        found, rows = [], 0
        for name, history in named_histories(tree):
            n = int(np.searchsorted(history.iters, step))
            rows = max(rows, n)
            for field, values in history.to_dict().items():
                key = f"{name}/{field}"
                self._sums[key] = total = _extended(self._sums.get(key), values, n)
                if total.known:
                    found.append([key, n, total.checksum])
        return {"rows": rows, "checksum": zlib.crc32(json.dumps(sorted(found)).encode())}


def check_rows(path: Path, found: Mapping[str, int], account: State) -> None:
    """Compare rows with what was saved of them.

    Args:
        path: The log, for messages.
        found: Its `rows` and their `checksum`.
        account: What they must be.

    Raises:
        RowsLostError: If they differ.
    """
    if not found["rows"] and account["rows"] and not path.exists():
        raise RowsLostError(f"{path} is gone")
    if found["rows"] != account["rows"]:
        raise RowsLostError(f"{path} has {found['rows']} of {counted(account['rows'], 'row')}")
    if found["checksum"] != account["checksum"]:
        raise RowsLostError(f"{path} was changed: the checksum of its rows is wrong")


def named_histories(tree: Histories, prefix: str = "") -> Iterator[tuple[str, History]]:
    """All histories in a tree with their dotted names."""
    if isinstance(tree, History):
        yield prefix, tree
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree or ())
    for key, value in items:
        yield from named_histories(value, f"{prefix}.{key}" if prefix else str(key))


def _extended(old: _Sum | None, values: np.ndarray, n: int) -> _Sum:
    kind = values.dtype.kind if values.dtype.kind in "cO" else "f"
    if old is None or old.kind != kind or old.rows > n:
        old = _Sum(0, 0, kind, False)
    content, known = _canonical(values[old.rows : n], kind)
    return _Sum(zlib.crc32(content, old.checksum), n, kind, old.known or known)


def _canonical(values: np.ndarray, kind: str) -> tuple[bytes, bool]:
    if kind == "O":
        texts = ["" if v is None else str(v) for v in values.flat]
        return "\0".join([*texts, ""]).encode(), any(texts)
    numbers = values.astype(complex if kind == "c" else float)
    finite = np.isfinite(numbers)
    numbers[~finite] = complex(np.nan, np.nan) if kind == "c" else np.nan
    return numbers.tobytes(), bool(finite.any())
