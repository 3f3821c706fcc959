"""Restores a driver and its callbacks from a checkpoint."""

import logging
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import jax

from ritz.callbacks.conditions import StopCondition
from ritz.checkpoint.checkpoint import Checkpoint
from ritz.checkpoint.contents import (
    check,
    check_shapes,
    ended_by_callback,
    other_callbacks,
    put_back,
    versions,
)
from ritz.checkpoint.folder import CheckpointError, CheckpointFolder, Contents, Entry, read
from ritz.checkpoint.logs import recover_logs
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.description import differences
from ritz.driver.hooks import HookList
from ritz.driver.stop import StopRun
from ritz.loggers.base import AbstractLogger
from ritz.types import State
from ritz.wording import counted

_logger = logging.getLogger(__name__)


def resume_run(
    driver: AbstractDriver, hooks: HookList, source: bool | str | os.PathLike[str], n_iter: int
) -> int:
    """Go on with a saved run.

    Args:
        driver: A driver with the settings of the saved one; `driver.hooks` are `hooks`.
        hooks: The callbacks of the run; none has been started.
        source: True for the newest checkpoint of the first `Checkpoint` among them, if there is
            any; or a checkpoint, or a folder of them.
        n_iter: Number of steps in all, counted from the beginning of the saved run.

    Returns:
        The step at which the saved run began.

    Raises:
        CheckpointError: If a demanded one is missing, or if it belongs to another run.
        ValueError: If `source` is True and there is no `Checkpoint`.
    """
    own = next((c for c in hooks.callbacks if isinstance(c, Checkpoint)), None)
    if own is None and source is True:
        raise ValueError(
            "resume=True needs to know where: give callback=[Checkpoint('FOLDER')], or a path "
            "instead of True."
        )
    folder = None if own is None else own.folder(driver)
    found = folder.newest() if source is True and folder else _find(Path(str(source)))
    for callback in hooks.callbacks:
        if isinstance(callback, AbstractLogger):
            callback.resuming = True
    if found is None:
        _logger.info("There is no checkpoint yet; the run begins at step %d.", driver.step_count)
        return driver.step_count
    entry, contents = found
    inside = folder is not None and entry.path.parent == folder.path
    if own is not None and not inside:
        own.refuse_another(resume=False)
    began, extended = _load(entry, contents, driver, hooks, own=own, inside=inside, n_iter=n_iter)
    if own is not None and inside:
        own.goes_on(entry, began, extended)
    return began


def load(
    path: str | Path,
    driver: AbstractDriver,
    prefix: str = "",
    settings: Collection[str] = (),
    callbacks: Collection[AbstractCallback] = (),
) -> int:
    """Restore a saved state into `driver`, without a run.

    Args:
        path: A checkpoint, or a folder of them, whose newest is taken.
        driver: A driver of the same kind, with parameters of the same shapes.
        prefix: Only checkpoints whose names begin with it are considered.
        settings: Names of those of `driver.settings` that must be the same as in the saved run.
        callbacks: Callbacks that get their state of the saved run.

    Returns:
        The step count.

    Raises:
        CheckpointError: If there is none, its shapes or those settings differ, or it was made
            without one of the callbacks.
    """
    entry, contents = _find(Path(path), prefix)
    check_shapes(contents.manifest, driver, str(entry.path), settings)
    states = put_back(contents, driver)
    for callback in callbacks:
        if callback.state_key not in states:
            raise CheckpointError(
                f"{entry.path} was made without {callback.label}, whose state is needed."
            )
        callback.load_state_dict(states[callback.state_key])
    return entry.step


class SavedSteps(NamedTuple):
    """The step counts of a saved run."""

    began: int
    step: int
    """Step count at which it was saved."""
    target: int
    """Step count up to which it was to run."""


def saved_steps(path: str | os.PathLike[str]) -> SavedSteps:
    """The steps at which a saved run began, was saved and was to end.

    Args:
        path: A checkpoint, or a folder of them, whose newest is read.

    Raises:
        CheckpointError: If there is none.
    """
    entry, contents = _find(Path(path))
    return SavedSteps(contents.manifest["began"], entry.step, contents.manifest["target"])


def _find(path: Path, prefix: str = "") -> tuple[Entry, Contents]:
    """The checkpoint at `path`, or the newest one in it."""
    path = path.absolute()
    folder = CheckpointFolder(path)
    found = folder.newest(prefix)
    if found is not None:
        return found
    for entry in CheckpointFolder(path.parent).entries():
        if entry.path == path:
            return entry, read(path)
    raise CheckpointError(f"there is no checkpoint in {path}.")


def _load(
    entry: Entry,
    contents: Contents,
    driver: AbstractDriver,
    hooks: HookList,
    *,
    own: Checkpoint | None,
    inside: bool,
    n_iter: int,
) -> tuple[int, bool]:
    manifest = contents.manifest
    accept = own.accept_changes if own is not None else ()
    for line in check(manifest, driver, accept, str(entry.path)):
        _logger.warning("Going on with a changed setting: %s", line)
    message = ended_by_callback(manifest)
    if inside:  # the logs of a checkpoint from elsewhere are elsewhere too
        first = entry.step if message is None else sys.maxsize
        recover_logs(manifest.get("rows", ()), driver, hooks.callbacks, first, accept)
    extended = message is not None and own is not None and _extends(own, manifest, driver, n_iter)
    if extended:  # the row of the step without an update is written again
        _logger.info("The saved run was %s; it is extended.", message)
        message = None
    elif message is not None and not getattr(own, "extend", False):
        _logger.warning(
            "The saved run had ended at step %d: %s. It stays ended; Checkpoint(..., extend=True) "
            "lets it go on.",
            entry.step,
            message,
        )
    for line in differences(manifest["versions"], versions()):
        _logger.warning("The saved run had other software, so bits may differ: %s", line)
    _tell_of_devices(manifest)
    states = put_back(contents, driver)
    known = hooks.stateful
    for callback in hooks.callbacks:
        if isinstance(callback, AbstractLogger):
            callback.complete = message is not None
    states = {key: state for key, state in states.items() if key in known}
    hooks.load(states, None if message is None else StopRun(message))
    if extended:
        for callback in hooks.callbacks:
            _rearm(callback)
        hooks.load({key: dict(known[key].state_dict()) for key in states})
    _logger.info("Going on from %s, saved %s.", entry.path, manifest["saved"])
    return manifest["began"], extended


def _tell_of_devices(manifest: State) -> None:
    """Say if the run goes on with other numbers of processes or devices."""
    now = jax.process_count(), jax.device_count()
    then = manifest["processes"], manifest.get("devices", manifest["processes"])
    if now != then:
        _logger.warning(
            "The run was saved by %s, and goes on with %s: sums have another order, so that rows "
            "are the same but for rounding.",
            *(f"{counted(p, 'process')} on {counted(d, 'device')}" for p, d in (then, now)),
        )


def _extends(own: Checkpoint, manifest: State, driver: AbstractDriver, n_iter: int) -> bool:
    """Whether a saved run that a callback has ended goes on."""
    if own.extend != "longer":
        return bool(own.extend)
    return n_iter > manifest["target"] - manifest["began"] or other_callbacks(manifest, driver)


def _rearm(callback: AbstractCallback) -> None:
    """Reset the counters of a stop condition, and of those that it combines."""
    if isinstance(callback, StopCondition):
        callback.rearm()
        for inner in getattr(callback, "conditions", ()):
            _rearm(inner)
