"""Runs the command line of Ritz in this process, and judges how it ended."""

import contextlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fuzz.case import Wrong, traceback_line
from ritz.cli.main import main

logging.getLogger().addHandler(logging.NullHandler())  # nothing goes to stderr but errors


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str
    warnings: tuple[str, ...]

    @property
    def error(self) -> str:
        """The line of the error; empty if there is none."""
        lines = [line for line in self.err.splitlines() if line.startswith("ritz: ")]
        return lines[-1] if lines else ""


class _Collect(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += f" [{record.exc_info[1]!r}]"
        self.messages.append(text)


def ritz(*arguments: str) -> Outcome:
    """Run a command.

    Raises:
        Wrong: If it ends with a traceback, or with a status and no line that says why.
    """
    out, err, collect = io.StringIO(), io.StringIO(), _Collect()
    root = logging.getLogger()
    root.addHandler(collect)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except Exception as error:
        raise Wrong(f"`ritz {' '.join(arguments)}` raised {traceback_line(error)}") from error
    finally:
        root.removeHandler(collect)
    found = Outcome(status, out.getvalue(), err.getvalue(), tuple(collect.messages))
    _judge(found, arguments)
    return found


def _judge(found: Outcome, arguments: Sequence[str]) -> None:
    command = f"`ritz {' '.join(arguments)}`"
    if "Traceback (most recent call last)" in found.err:
        raise Wrong(f"{command} printed a traceback: {found.err[-400:]!r}")
    if found.status not in (0, 1, 2):
        raise Wrong(f"{command} ended with the status {found.status}: {found.err[-400:]!r}")
    if found.status == 2 and not found.error:
        raise Wrong(f"{command} ended with the status 2 and no line: {found.err[-400:]!r}")
    lines = found.err.splitlines()
    if found.error and lines[-1] != found.error:
        raise Wrong(f"{command} told its error in more than one line: {found.err[-600:]!r}")
    if len(found.error) > 3000:
        raise Wrong(
            f"{command} told an error of {len(found.error)} characters: {lines[-1][:300]!r}"
        )


def strict_json(path: Path) -> Any:
    """A JSON file without NaN, which JSON does not have.

    Raises:
        Wrong: If there is one.
    """

    def refuse(name: str) -> None:
        raise Wrong(f"{path.name} has a bare {name}")

    return json.loads(path.read_text(), parse_constant=refuse)
