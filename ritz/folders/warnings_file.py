"""The warnings of the runs in a folder, kept as lines with their time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "warnings.log"
_MOST = 200
"""Number of lines that are read, the newest ones."""


@contextmanager
def kept_warnings(folder: Path) -> Iterator[None]:
    """Context manager that writes warnings and errors of Ritz to `warnings.log` in a folder.

    The file is made with the first of them, if the folder is there by then.

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
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record; a folder that takes no more loses it, since it was shown already."""
        if not self._folder.is_dir():
            return
        try:
            with open(self._folder / FILE, "a") as file:
                file.write(self.format(record).replace("\n", " ") + "\n")
        except OSError:
            return


def read_warnings(folder: Path) -> list[str]:
    """The newest lines of `warnings.log`; empty if there is none."""
    try:
        lines = (folder / FILE).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return lines[-_MOST:]
