"""The warnings of the runs in a folder, kept as lines with their time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ritz.folders.config import CONFIG

FILE = "warnings.log"
_MOST = 200
"""Number of lines that are read, the newest ones."""


@contextmanager
def kept_warnings(folder: Path) -> Iterator[None]:
    """Context manager that writes warnings and errors of Ritz to `warnings.log` in a folder.

    Nothing is written before the folder has the configuration of a run, so that a run which is
    refused leaves nothing there; `flush_warnings` then writes what was noted.

    Args:
        folder: The run folder.
    """
    logger, handler = logging.getLogger("ritz"), _Lines(folder)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


class _Lines(logging.Handler):
    """Appends a line for each warning."""

    def __init__(self, folder: Path):
        super().__init__(logging.WARNING)
        self._folder = folder
        self._lines: list[str] = []
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Note the record, and `flush`."""
        self._lines.append(self.format(record).replace("\n", " ") + "\n")
        self.flush()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        super().close()

    def flush(self) -> None:
        """Write what was noted so far if the folder is that of a run."""
        if not self._lines or not (self._folder / CONFIG).is_file():
            return
        lines, self._lines = self._lines, []
        # Where a disk takes no more, warnings are lost here: they were shown already.
        with suppress(OSError), open(self._folder / FILE, "a") as file:
            file.writelines(lines)


def flush_warnings() -> None:
    """Write the warnings that were given before a folder had its configuration."""
    for handler in logging.getLogger("ritz").handlers:
        if isinstance(handler, _Lines):
            handler.flush()


def read_warnings(folder: Path) -> list[str]:
    """The newest lines of `warnings.log`; empty if there is none.

    Those that only tell where a run ended are left out, as a stop condition ends most runs.
    """
    try:
        lines = (folder / FILE).read_text(errors="replace").splitlines()
    except OSError:
        return []
    told = [line for line in lines if "Run ended at step " not in line or " suspect: " in line]
    return told[-_MOST:]
