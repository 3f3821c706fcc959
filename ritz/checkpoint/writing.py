"""The checkpoints that a run writes into its folder, and which of them it keeps."""

import logging

from ritz.checkpoint.folder import (
    CheckpointError,
    CheckpointFolder,
    Contents,
    Entry,
    read_manifest,
)
from ritz.checkpoint.retention import Retention

_logger = logging.getLogger(__name__)


class Writing:
    """Writes into one folder during one run.

    Args:
        folder: The folder.
        retention: Which checkpoints are kept.
        newest: The checkpoint with which the run begins, if it goes on from one.
    """

    def __init__(self, folder: CheckpointFolder, retention: Retention, newest: Entry | None):
        self.folder = folder
        self.newest = newest
        """The newest checkpoint of this run, perhaps not yet complete."""
        self.has_failed_state = False
        """Whether a state was saved in `failed/`."""
        self._retention = retention
        self._kept = {entry: _monitored(entry) for entry in folder.entries()}

    def monitored(self, entry: Entry) -> float | None:
        """The monitored quantity of a checkpoint."""
        return self._kept.get(entry)

    def write(self, contents: Contents, ended: bool) -> None:
        """Write in the background; the checkpoint before must be finished.

        The first in a folder is waited for, so that a folder that cannot be written is known.

        Raises:
            CheckpointError: If that could not be written.
        """
        self._clean()
        is_first = not self._kept
        entry = self.folder.save(contents.manifest["step"], ended, contents)
        self._kept[entry] = contents.manifest["monitored"]
        self.newest = entry
        if is_first:
            self.finish()

    def write_failed(self, contents: Contents) -> None:
        """Save a state that no run should go on from in `failed/`, for inspection."""
        self.has_failed_state = True
        folder = CheckpointFolder(self.folder.path / "failed")
        for old in folder.entries():
            folder.remove(old)
        entry = folder.save(contents.manifest["step"], False, contents)
        folder.wait()
        _logger.warning(
            "Step %d: no run should go on from this state; saved for inspection only: %s",
            entry.step,
            entry.path,
        )

    def finish(self) -> None:
        """Wait for the checkpoint being written; forget it if it failed. All processes wait.

        Raises:
            CheckpointError: If it failed.
        """
        try:
            self.folder.wait()
        except CheckpointError:
            self._forget()
            raise

    def finish_here(self) -> str:
        """The same for this process alone; returns what went wrong."""
        failed = self.folder.wait_here()
        if failed:
            self._forget()
        return failed

    def _forget(self) -> None:
        if self.newest is not None:
            self._kept.pop(self.newest, None)
        self.newest = max(self._kept, default=None)

    def close(self) -> None:
        """Wait for the last checkpoint, and delete those that need not be kept.

        Raises:
            CheckpointError: If it could not be written.
        """
        self.finish()
        self._clean()
        self.finish()

    def _clean(self) -> None:
        """Delete checkpoints that need not be kept; all present ones are complete."""
        for entry in self._retention.superfluous(self._kept):
            self.folder.remove(entry)
            del self._kept[entry]


def _monitored(entry: Entry) -> float | None:
    try:
        return read_manifest(entry.path)["monitored"]
    except CheckpointError:
        return None
