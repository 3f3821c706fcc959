"""A folder with everything of a run."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from ritz.callbacks import HookTiming
from ritz.cli.settings.yaml_text import load_yaml, read_yaml
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.description import describe, differences
from ritz.folders.config import CONFIG, domain_of, is_intact, signed
from ritz.folders.files import atomic_write
from ritz.folders.timing import write_timing
from ritz.folders.warnings_file import flush_warnings
from ritz.types import Settings

_logger = logging.getLogger("ritz")

HISTORY = "config_history"


class RunFolder:
    """Keeps the resolved configuration of a run, and those that it had before.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def config(self) -> Settings | None:
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
        return is_intact(file.read_bytes())

    def check_domain(self, domain: str) -> None:
        """Refuse the folder of a run of another domain.

        Args:
            domain: The domain that is to run here, such as "lattice".

        Raises:
            ValueError: If it is another's.
        """
        other = domain_of(self.path)
        if other not in (None, domain):
            raise ValueError(
                f"folder: {self.path} belongs to a run of `ritz {other}`; give `ritz {domain}` "
                "another one."
            )

    def keep(self, text: str, domain: str = "", expected: bool = False) -> None:
        """Write the configuration; another one before it goes into the history.

        Args:
            text: The resolved configuration as YAML.
            domain: Whose configuration it is, such as "lattice".
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
        content = signed(text.encode(), domain)
        if not file.is_file() or file.read_bytes() != content:
            atomic_write(file, content)
        flush_warnings()

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


def changed(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """The differences between two configurations, a line for each key.

    Numbers are compared by value: 10 is 10.0, as YAML and the command line may have either.
    """
    return differences(describe(_written_as(new, old)), describe(new))


def _written_as(new: object, old: object) -> object:
    """`old`, with its numbers written as those of `new` where they are equal."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {key: _written_as(new.get(key), value) for key, value in old.items()}
    if isinstance(old, list) and isinstance(new, list):
        return [*map(_written_as, new, old), *old[len(new) :]]
    numbers = {type(old), type(new)} <= {int, float}  # True is no 1
    return new if numbers and old == new else old


class KeepConfig(AbstractCallback):
    """Writes the configuration into the run folder, once the run has been accepted.

    Args:
        folder: The run folder.
        text: The configuration as YAML.
        domain: Whose configuration it is, such as "lattice".
    """

    callback_order = -100

    def __init__(self, folder: Path, text: str, domain: str = ""):
        self._folder, self._text, self._domain = RunFolder(folder), text, domain

    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        """Write the configuration into the run folder, on the first process."""
        import jax

        if jax.process_index() == 0:
            self._folder.keep(self._text, self._domain, expected=step > 0)


class KeepTiming(AbstractCallback):
    """Writes the table of a `HookTiming` among the callbacks into the run folder.

    Args:
        folder: The run folder.
    """

    callback_order = CallbackOrder.LOG
    decides = False
    is_live = never_live

    def __init__(self, folder: Path):
        self._folder = folder

    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        """Write the table, on the first process."""
        import jax

        timing = next((c for c in driver.hooks.callbacks if isinstance(c, HookTiming)), None)
        if timing is not None and jax.process_index() == 0:
            write_timing(self._folder, timing.rows())

    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        """Write the table, as at the end of a run."""
        self.on_run_end(step, driver)
