"""Rows as lines of text."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from typing_extensions import override

from ritz.checks import check_count
from ritz.driver.rows import scalars
from ritz.driver.signatures import suggests_names
from ritz.loggers.base import AbstractLogger
from ritz.types import Row


class ConsoleLog(AbstractLogger):
    """Writes every `interval`-th row as a line of text to a stream.

    Args:
        interval: Write a line at steps that are multiples of this.
        fields: What to show, such as "Energy" or "Energy.Mean"; everything by default.
        stream: Where to write; `sys.stdout` by default.
    """

    @suggests_names
    def __init__(
        self, interval: int = 1, fields: Sequence[str] | None = None, stream: TextIO | None = None
    ):
        if isinstance(fields, str):
            raise TypeError(f"fields must be a list of names; write fields=[{fields!r}].")
        self.interval = check_count("interval", interval, 1)
        self.fields = fields
        self.stream = stream

    @contextlib.contextmanager
    @override
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        self._out = self.stream or sys.stdout
        self._shown_any, self._known = False, ""
        yield
        self._out.flush()
        if self._known and not self._shown_any:
            raise ValueError(
                f"none of {', '.join(self.fields or ())} was logged; this run logs: {self._known}."
            )

    def _shown(self, name: str) -> bool:
        return self.fields is None or any(
            name == field or name.startswith(f"{field}.") for field in self.fields
        )

    @override
    def write(self, step: int, stats: Row) -> None:
        if step % self.interval:
            return
        shown = [f"{name}={v:.8g}" for name, v in scalars(stats, ".") if self._shown(name)]
        if shown:
            self._shown_any = True
            self._out.write(f"step {step:>6}  " + "  ".join(shown) + "\n")
        elif not self._known:
            self._known = ", ".join(name for name, _ in scalars(stats, "."))
