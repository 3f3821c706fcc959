"""A folder with everything of a run."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ritz.cli.yaml_limits import check_yaml
from ritz.driver.callback import AbstractCallback
from ritz.driver.description import describe, differences
from ritz.loggers.files import atomic_write

_logger = logging.getLogger("ritz")

CONFIG = "config.yaml"
HISTORY = "config_history"


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
        try:
            text = file.read_text()
            check_yaml(text, str(file))
            found = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{file} holds no configuration.")
        return found

    def keep(self, text: str) -> None:
        """Write the configuration; another one before it goes into the history.

        Args:
            text: The resolved configuration as YAML.
        """
        old = self.config
        changes = [] if old is None else changed(old, yaml.safe_load(text))
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / CONFIG
        if changes:
            history = self.path / HISTORY
            history.mkdir(exist_ok=True)
            number = 1 + sum(1 for _ in history.glob("*.yaml"))
            kept = history / f"{number:03d}.yaml"
            note = "".join(f"# changed on {time.strftime('%Y-%m-%d %H:%M:%S')}: {line}\n"
                           for line in changes)  # fmt: skip
            atomic_write(kept, (note + file.read_text()).encode())
            for line in changes:
                _logger.warning("The configuration has changed: %s", line)
        if old is None or changes:
            atomic_write(file, text.encode())


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
            self._folder.keep(self._text)
