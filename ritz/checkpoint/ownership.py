"""Locks a folder for a run with all of its processes."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import jax
from typing_extensions import override

from ritz.checkpoint.folder import CheckpointError
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, never_live
from ritz.driver.processes.consensus import agree
from ritz.folders.lock import FolderInUseError, FolderLock
from ritz.folders.owner import Owner


class FolderOwner(AbstractCallback):
    """Keeps a folder for its run, see `FolderLock`: other runs in it are refused.

    Args:
        folder: The folder, relative to the run's working folder.
    """

    callback_order = -1000
    decides = False
    is_live = never_live

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._started = False

    @override
    def check_run(self, driver: AbstractDriver, resume: bool) -> None:
        self._started = False
        folder = driver.working_dir / self.folder
        take(folder, driver.hold, lambda: ending(driver) if self._started else None, within=True)

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self._started = True


def take(
    folder: Path,
    hold: Callable[[contextlib.AbstractContextManager[object]], object],
    ended: Callable[[], Owner | None] = lambda: None,
    within: bool = False,
) -> None:
    """Lock `folder` for a run; called on all processes, of which the first one locks.

    Args:
        folder: The folder.
        hold: Enters a context manager until the run is over, such as `driver.hold`.
        ended: How the run ended, see `FolderLock.release`.
        within: See `FolderLock.acquire`.

    Raises:
        FolderInUseError: If another run has it, on all processes.
        CheckpointError: If it cannot be made or written.
    """
    refusal: Exception | None = None
    if jax.process_index() == 0:
        try:
            hold(FolderLock(folder).held(ended, within))
        except FolderInUseError as error:
            refusal = error
        except OSError as error:
            refusal = CheckpointError(f"the folder {folder} cannot be made or written: {error}")
    if agree(refusal is not None):
        raise refusal or FolderInUseError(
            f"the first process could not take the folder {folder}; see its message."
        )


def ending(driver: AbstractDriver) -> Owner:
    """Description of how the last run of `driver` ended, for `ritz status` and messages."""
    reason = driver.stop_reason
    return {
        "reason": None if reason is None else reason.name,
        "message": driver.stop_message,
        "step": driver.step_count,
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
