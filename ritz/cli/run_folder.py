"""A folder with everything of a run."""

import logging
import re
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ritz.cli.yaml_text import load_yaml, read_yaml
from ritz.driver.callback import AbstractCallback
from ritz.driver.description import describe, differences
from ritz.loggers.files import atomic_write

_logger = logging.getLogger("ritz")

CONFIG = "config.yaml"
HISTORY = "config_history"
_SIGNED = re.compile(rb"# Written by ritz; checksum ([0-9a-f]{8})\.\n")


class RunFolder:
    """Keeps the resolved configuration of a run, and those that it had before.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration of the last call, or None if there was none.

        Raises:
            ValueError: If it cannot be read.
        """
        file = self.path / CONFIG
        if not file.is_file():
            return None
        found = read_yaml(file)
        if not isinstance(found, dict):
            raise ValueError(f"{file} holds no configuration.")
        return found

    def is_intact(self) -> bool:
        """Whether the configuration is as it was written; also if there is none."""
        file = self.path / CONFIG
        if not file.is_file():
            return True
        content = file.read_bytes()
        head = _SIGNED.match(content)
        return head is not None and _signed(content[head.end() :]) == content

    def keep(self, text: str, expected: bool = False) -> None:
        """Write the configuration; another one before it goes into the history.

        Args:
            text: The resolved configuration as YAML.
            expected: Whether there must be one, since the run goes on.
        """
        file = self.path / CONFIG
        try:
            old, damage = self.config, None
        except ValueError as error:
            old, damage = None, str(error).rstrip(".")
        if expected and not file.is_file():
            _logger.warning("%s is gone; it is written anew.", file)
        changes = [] if old is None else changed(old, load_yaml(text))
        if damage is not None:
            changes = [f"{damage}; this command's configuration takes its place"]
        elif not self.is_intact():
            _logger.warning("%s was damaged, or changed by hand, since it was written.", file)
        self.path.mkdir(parents=True, exist_ok=True)
        if changes:
            self._note(file, changes)
        if old is None or changes or not self.is_intact():
            atomic_write(file, _signed(text.encode()))

    def _note(self, file: Path, changes: list[str]) -> None:
        """Put what is replaced into the history, with what has changed."""
        history = self.path / HISTORY
        history.mkdir(exist_ok=True)
        number = 1 + sum(1 for _ in history.glob("*.yaml"))
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        note = "".join(f"# changed on {now}: {line}\n" for line in changes)
        atomic_write(history / f"{number:03d}.yaml", note.encode() + file.read_bytes())
        for line in changes:
            _logger.warning("The configuration has changed: %s", line)


def _signed(content: bytes) -> bytes:
    return f"# Written by ritz; checksum {zlib.crc32(content):08x}.\n".encode() + content


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, a line for each key."""
    return differences(describe(old), describe(new))


class KeepConfig(AbstractCallback):
    """Writes the configuration into the run folder, once the run has been accepted.

    Args:
        folder: The run folder.
        text: The configuration as YAML.
    """

    callback_order = -100

    def __init__(self, folder: Path, text: str):
        self._folder, self._text = RunFolder(folder), text

    def on_run_start(self, step: int, driver: Any) -> None:
        """Write."""
        import jax

        if jax.process_index() == 0:
            self._folder.keep(self._text, expected=step > 0)


class StepsOfCommand(AbstractCallback):
    """Notes from which step on a command runs, and whether it takes any step."""

    decides = False

    def __init__(self) -> None:
        self.first = 0
        """Updates that were applied before."""
        self.begun = False
        """Whether a step was begun; it may have been stopped before its update."""

    def is_live(self, step: int) -> bool:
        """Never."""
        return False

    def on_run_start(self, step: int, driver: Any) -> None:
        """Note the step."""
        self.first, self.begun = step, False

    def on_step_start(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Note that there is one."""
        self.begun = True
