"""Saves a whole run, so that it can go on as if nothing had happened."""

import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ritz.callbacks.monitor import check_expected, check_number, find, mean_and_error
from ritz.checkpoint.contents import describe_run, gather
from ritz.checkpoint.folder import (
    CheckpointError,
    CheckpointFolder,
    Contents,
    Entry,
    read_manifest,
)
from ritz.checkpoint.retention import Retention
from ritz.checkpoint.shared import check_shared
from ritz.driver.arguments import check_count
from ritz.driver.callback import AbstractCallback, CallbackOrder
from ritz.driver.consensus import agree, alone, together
from ritz.driver.stop import StopReason
from ritz.loggers.base import AbstractLogger

_logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
"""The default interval."""


class Checkpoint(AbstractCallback):
    """Saves everything that a run needs to go on, bit for bit, in this process or another.

    That is: parameters, model state, states of the optimiser, update rule and sampler, random
    keys, the step count, the states of all callbacks and logs, the settings of the driver and the
    versions of the packages. `driver.run(..., resume=True)` goes on from the newest one.

    It is written in the background and appears when it is complete. It changes no result: nothing
    is live, and blocks of steps end where a checkpoint is due. The first is written after the
    first step, so that a folder that cannot be written is known at once; the last when the run
    ends, unless it fails with an error.

    A state with a loss or parameters that are not finite is no good to go on from: it is written
    into the folder `failed` in `directory`, once in a run.

    Args:
        directory: The folder, relative to the run's working folder.
        every_steps: Save at step counts that are multiples of this.
        every_seconds: Save when so much time has passed since the last time; 60 seconds if no
            interval is given. Each interval acts on its own.
        max_to_keep: How many of the newest are kept; None keeps all.
        keep_best: `(monitor, mode, k)` also keeps those at which a logged quantity was lowest
            ("min") or highest ("max"), for example `("Energy", "min", 2)`.
        save_on_stop: Whether to save when the run ends.
        accept_changes: What may differ from the saved run when it is resumed: names of
            `AbstractDriver.settings`, such as "optimizer", or "callbacks".
        configuration: Saved with it, for people: anything that JSON can hold.

    Raises:
        ValueError: If an interval or number is not allowed.
        CheckpointError: At the start of a run that is not resumed, if the folder holds
            checkpoints of another one, or if it is not one and the same for all processes; at its
            end, if the last one could not be written.
    """

    callback_order = CallbackOrder.CHECKPOINT
    decides = False

    def __init__(
        self,
        directory: str | Path,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        max_to_keep: int | None = 3,
        keep_best: tuple[str, str, int] | None = None,
        save_on_stop: bool = True,
        accept_changes: Collection[str] = (),
        configuration: Mapping[str, Any] | None = None,
    ):
        self.directory = Path(directory)
        if every_steps is None and every_seconds is None:
            every_seconds = EVERY_SECONDS
        if every_steps is not None:
            check_count("every_steps", every_steps, 1)
        if every_seconds is not None:
            check_number("every_seconds", every_seconds, 0)
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.retention = Retention(max_to_keep, keep_best)
        self.save_on_stop = save_on_stop
        if isinstance(accept_changes, str):
            raise ValueError(f"accept_changes takes names in a list, such as [{accept_changes!r}].")
        self.accept_changes = frozenset(accept_changes)
        self.configuration = configuration
        self.last_saved: Entry | None = None
        """The newest checkpoint of this run; it may still be in writing."""
        self._folder: CheckpointFolder | None = None
        self._began: int | None = None
        """The step at which the run began, from which its steps are counted."""
        self._resumed = False
        self._description: dict[str, Any] = {}
        self._kept: dict[Entry, float | None] = {}
        self._last_time = 0.0
        self._failed = False
        self._final: tuple[Contents, bool] | None = None

    # Before the run.

    def folder(self, driver: Any) -> CheckpointFolder:
        """The folder, for a run of `driver`."""
        path = (driver.working_dir / self.directory).absolute()
        if self._folder is None or self._folder.path != path:
            self._folder, self._began, self.last_saved = CheckpointFolder(path), None, None
        return self._folder

    def check_run(self, driver: Any, resume: bool) -> None:
        """Refuse to mix the checkpoints of two runs."""
        folder = self.folder(driver)
        check_shared(folder.path)
        entries = folder.entries()
        if entries and not resume and self._began is None:
            raise CheckpointError(
                f"{folder.path} holds checkpoints of another run, the newest of step "
                f"{entries[-1].step}; give resume=True to run() to go on with it, or choose "
                "another folder."
            )

    def goes_on(self, entry: Entry, began: int) -> None:
        """Note that the run goes on from `entry`, one of this folder."""
        assert self._folder is not None
        for other in self._folder.entries():
            if other > entry:
                self._folder.set_aside(other)
        self._began, self.last_saved, self._resumed = began, entry, True

    def on_run_start(self, step: int, driver: Any) -> None:
        """Look at what is there."""
        folder = self.folder(driver)
        resumed, self._resumed = self._resumed, False
        if not resumed or self._began is None:
            self._began, self.last_saved = step, None
        self._kept = {entry: _monitored(entry) for entry in folder.entries()}
        self._last_time = time.monotonic()
        self._failed, self._final = False, None
        self._description = describe_run(driver, self._began, self.configuration)
        driver.after_steps(lambda: self._prepare_final(driver))

    # During the run.

    def is_live(self, step: int) -> bool:
        """Never: the state is read between steps."""
        return False

    def ends_block(self, step: int) -> bool:
        """Where `every_steps` says so."""
        return self.every_steps is not None and (step + 1) % self.every_steps == 0

    def on_step_end(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Save when the step has ended, if that is due and the state is there."""
        if driver.settled_state is None:
            return
        if self._due(step):
            monitored = self._read(log_data, driver)
            driver.after_step(lambda: self._save(driver, monitored))
        elif self.every_seconds is not None:  # by the clock, and each process has its own
            late = time.monotonic() - self._last_time >= self.every_seconds
            if late or not alone():
                agreed = driver.hooks.wish(self, late)
                monitored = self._read(log_data, driver)
                driver.after_step(lambda: self._save(driver, monitored) if agreed() else None)

    def _due(self, step: int) -> bool:
        """Whether the step is one to save at, as all processes know."""
        return (self.last_saved is None and not self._failed) or self.ends_block(step)

    def _read(self, log_data: Mapping[str, Any], driver: Any) -> float | None:
        monitor = self.retention.monitor
        if monitor is None:
            return None
        try:
            mean, _ = mean_and_error(*find(monitor, log_data, driver.loss_name))
        except LookupError:
            check_expected(monitor, log_data, driver)
            return None
        return float(np.real(np.asarray(mean)))

    def _contents(self, driver: Any, monitored: float | None, ended: bool) -> Contents:
        return gather(driver, self._description, ended, monitored)

    def _save(self, driver: Any, monitored: float | None) -> None:
        """Save in the background; a failure is told, and tried again when the next is due."""
        self._last_time = time.monotonic()
        finite = not agree(not _is_finite(driver))
        if not finite and self._failed:
            return
        contents = self._contents(driver, monitored, ended=False)
        with together("while it saved a checkpoint"):
            for callback in driver.hooks.callbacks:
                if isinstance(callback, AbstractLogger):
                    callback.sync()
        try:
            self._write(contents, ended=False, finite=finite)
        except CheckpointError as error:
            if self.last_saved is None:
                raise
            _logger.error(
                "A checkpoint failed: %s. The run goes on; the newest is %s.",
                error, self.last_saved.path,
            )  # fmt: skip

    def _write(self, contents: Contents, ended: bool, finite: bool) -> None:
        assert self._folder is not None
        if not finite:
            self._write_failed(contents)
            return
        self._finish_writing()
        self._clean()
        entry = self._folder.save(contents.manifest["step"], ended, contents)
        self._kept[entry] = contents.manifest["monitored"]
        self.last_saved = entry

    def _write_failed(self, contents: Contents) -> None:
        assert self._folder is not None
        self._failed = True
        folder = CheckpointFolder(self._folder.path / "failed")
        for old in folder.entries():
            folder.remove(old)
        entry = folder.save(contents.manifest["step"], False, contents)
        folder.wait()
        _logger.warning(
            "Step %d: loss or parameters are not finite; saved for inspection only: %s",
            entry.step, entry.path,
        )  # fmt: skip

    def _finish_writing(self) -> None:
        """Wait for the checkpoint in writing; forget it if it failed."""
        assert self._folder is not None
        try:
            self._folder.wait()
        except CheckpointError:
            if self.last_saved is not None:
                self._kept.pop(self.last_saved, None)
            self.last_saved = max(self._kept, default=None)
            raise

    def _clean(self) -> None:
        """Delete what need not be kept; all that is there is complete."""
        assert self._folder is not None
        for entry in self.retention.superfluous(self._kept):
            self._folder.remove(entry)
            del self._kept[entry]

    # After it.

    def _prepare_final(self, driver: Any) -> None:
        """Take the state before other callbacks change it at the end of the run."""
        last = self.last_saved
        already = last is not None and last.end and last.step == driver.step_count
        if self.save_on_stop and not already:
            monitored = None if last is None else self._kept.get(last)
            if last is None or last.step != driver.step_count:
                monitored = None
            failed = driver.stop_reason is StopReason.FAILED
            finite = not agree(failed or not _is_finite(driver))
            self._final = self._contents(driver, monitored, ended=True), finite

    def on_run_end(self, step: int, driver: Any) -> None:
        """Save, and wait until it is written."""
        final, self._final = self._final, None
        if final is not None:
            try:
                self._finish_writing()
            except CheckpointError as error:
                _logger.error("A checkpoint failed: %s", error)
            self._write(final[0], ended=True, finite=final[1])
        self._finish_writing()
        self._clean()

    def on_run_error(self, step: int, error: BaseException, driver: Any) -> None:
        """Wait for what is in writing; the state, maybe in the middle of a step, is not saved."""
        try:
            self._finish_writing()
        except CheckpointError as failure:
            _logger.error("A checkpoint failed: %s", failure)


def _monitored(entry: Entry) -> float | None:
    try:
        return read_manifest(entry.path)["monitored"]
    except CheckpointError:
        return None


def _is_finite(driver: Any) -> bool:
    """Whether this process sees nothing but finite numbers in loss and parameters."""
    loss = getattr(driver.loss, "mean", driver.loss)
    values = [*jax.tree.leaves(loss), *_shards(driver.parameters)]
    arrays = [np.asarray(value) for value in values if value is not None]
    return all(bool(np.all(np.isfinite(a))) for a in arrays if a.dtype.kind in "fc")


def _shards(tree: Any) -> list[Any]:
    return [
        shard
        for leaf in jax.tree.leaves(tree)
        for shard in (
            [s.data for s in leaf.addressable_shards] if isinstance(leaf, jax.Array) else [leaf]
        )
    ]
