"""Saves a whole run, so that it can be resumed bit for bit."""

import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from typing_extensions import override

from ritz.callbacks.monitor import check_expected, find, mean_and_error
from ritz.checkpoint.contents import describe_run, gather
from ritz.checkpoint.folder import CheckpointError, CheckpointFolder, Contents, Entry
from ritz.checkpoint.ownership import ending, take
from ritz.checkpoint.probation import Judgements, all_finite
from ritz.checkpoint.retention import Retention
from ritz.checkpoint.shared import check_shared
from ritz.checkpoint.writing import Writing
from ritz.checks import check_count, check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.processes.consensus import agree, is_single_process, together
from ritz.driver.signatures import suggests_names
from ritz.driver.stop import StopReason
from ritz.loggers.base import AbstractLogger
from ritz.types import Row, State

_logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
"""Seconds between two checkpoints if no interval is given."""


class Checkpoint(AbstractCallback):
    """Saves everything that a run needs to go on, bit for bit, in this process or another.

    That is: parameters, model state, states of the optimiser, update rule and sampler, random
    keys, the step count, the states of all callbacks and logs, the settings of the driver and the
    versions of the packages. `driver.run(..., resume=True)` goes on from the newest one.

    Checkpoints are written in the background and appear when complete. They change no result: no
    step is live, and blocks of steps end where a checkpoint is due. The first is taken after the
    first step, so that a folder that cannot be written is known at once; the last when the run
    ends, unless it fails with an error.

    The folder belongs to the run until it ends, see `FolderLock`.

    A state is good to go on from if the *next* loss is finite and plausible: a checkpoint is
    written when the row after it is there, and of the last state the loss is computed for that. One
    that is not good is written into the folder `failed` in `directory`, once in a run. When a run
    diverges, its last good state is saved, and a resumed run goes on from there.

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
            `AbstractDriver.settings`, such as "optimizer"; "callbacks"; or "logs".
        configuration: Saved with it for information: anything that JSON can hold.
        extend: Whether a run that a callback had ended goes on when it is resumed, its stop
            conditions counting anew; "longer": if it is asked for more steps than before, or has
            other callbacks.

    Raises:
        ValueError: If an interval or number is not allowed.
        CheckpointError: At the start of a run that is not resumed, if the folder holds
            checkpoints of another one, or if it is not one and the same for all processes; at its
            end, if the last one could not be written.
        FolderInUseError: At the start of a run, if another one goes on in the folder.
    """

    callback_order = CallbackOrder.CHECKPOINT
    decides = False

    @suggests_names
    def __init__(
        self,
        directory: str | Path,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        max_to_keep: int | None = 3,
        keep_best: tuple[str, str, int] | None = None,
        save_on_stop: bool = True,
        accept_changes: Collection[str] = (),
        configuration: Mapping[str, object] | None = None,
        extend: bool | Literal["longer"] = False,
    ):
        self.directory = Path(directory)
        if every_steps is None and every_seconds is None:
            every_seconds = EVERY_SECONDS
        if every_steps is not None:
            check_count("every_steps", every_steps, 1)
        if every_seconds is not None:
            check_number("every_seconds", every_seconds, 0)
        self.every_steps, self.every_seconds = every_steps, every_seconds
        self.retention = Retention(max_to_keep, keep_best)
        self.save_on_stop = save_on_stop
        if isinstance(accept_changes, str):
            raise ValueError(f"accept_changes takes names in a list, such as [{accept_changes!r}].")
        self.accept_changes = frozenset(accept_changes)
        self.configuration = configuration
        if not isinstance(extend, bool) and extend != "longer":
            raise ValueError(f"extend takes True, False or 'longer', but {extend!r} was given.")
        self.extend = extend
        self._folder: CheckpointFolder | None = None
        self._writing: Writing | None = None
        self._resumed_from: Entry | None = None
        self._began: int | None = None
        """The step at which the run began, from which its steps are counted."""
        self._resumed = False
        self._extended: Entry | None = None
        """Checkpoint at the end of the saved run that this one extends; another one of its step
        takes its place."""
        self._description: State = {}
        self._last_time, self._started = 0.0, False
        self._final: tuple[Contents, bool] | None = None
        self._judgements = Judgements()
        self._pending: Contents | None = None
        """State that is written once the next loss is known to be good."""
        self._overdue = False

    @property
    def last_saved(self) -> Entry | None:
        """The newest checkpoint of this run, perhaps not yet complete."""
        return self._resumed_from if self._writing is None else self._writing.newest

    # Before the run.

    def folder(self, driver: AbstractDriver) -> CheckpointFolder:
        """The folder, for a run of `driver`."""
        path = (driver.working_dir / self.directory).absolute()
        if self._folder is None or self._folder.path != path:
            self._folder, self._began = CheckpointFolder(path), None
            self._writing = self._resumed_from = None
        return self._folder

    def check_run(self, driver: AbstractDriver, resume: bool) -> None:
        """Lock the folder, and refuse to mix the checkpoints of two runs."""
        folder = self.folder(driver)
        check_shared(folder.path)
        self._started = False
        take(folder.path, driver.hold, lambda: ending(driver) if self._started else None)
        self.refuse_another(resume)

    def refuse_another(self, resume: bool) -> None:
        """Refuse a folder with the checkpoints of another run."""
        assert self._folder is not None
        folder, entries = self._folder, self._folder.entries()
        if entries and not resume and self._began is None:
            raise CheckpointError(
                f"{folder.path} holds checkpoints of another run, the newest of step "
                f"{entries[-1].step}; give resume=True to run() to go on with it, or choose "
                "another folder."
            )

    def goes_on(self, entry: Entry, began: int, extended: bool) -> None:
        """Note that the run goes on from `entry` here, or extends a run that ended there."""
        assert self._folder is not None
        for other in self._folder.entries():
            if other > entry:
                self._folder.set_aside(other)
        self._began, self._resumed = began, True
        self._writing, self._resumed_from = None, entry
        self._extended = entry if extended else None

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        folder = self.folder(driver)
        self._started = True
        resumed, self._resumed = self._resumed, False
        if not resumed or self._began is None:
            self._began, self._resumed_from = step, None
        self._writing = Writing(folder, self.retention, self._resumed_from)
        self._last_time = time.monotonic()
        self._final = None
        self._judgements = Judgements(driver.telling_doubts)
        self._pending, self._overdue = None, False
        self._description = describe_run(driver, self._began, self.configuration)
        driver.after_steps(lambda: self._prepare_final(driver))

    # During the run.

    is_live = never_live  # the state is read between steps

    @override
    def ends_block(self, step: int) -> bool:
        return self.every_steps is not None and (step + 1) % self.every_steps == 0

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Judge the state copied after the last step, now that its loss is known."""
        self._judgements.judge(step, driver, went_back="retries" in log_data)

    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Copy the state after the step, if a checkpoint is due and the state is available."""
        if driver.settled_state is None:
            return
        pending = self._pending
        if pending is not None and pending.manifest["step"] in self._judgements:
            driver.after_step(lambda: self._settle_pending(driver))
        if self._due(step):
            monitored = self._read(log_data, driver)
            driver.after_step(lambda: self._take(driver, monitored))
        elif self.every_seconds is not None:  # by the clock, which differs between processes
            late = time.monotonic() - self._last_time >= self.every_seconds
            if late or not is_single_process():
                agreed = driver.hooks.wish(self, late)
                monitored = self._read(log_data, driver)
                driver.after_step(lambda: self._take(driver, monitored) if agreed() else None)

    @property
    def _written(self) -> Writing:
        assert self._writing is not None
        return self._writing

    def _due(self, step: int) -> bool:
        """Whether the step is one to save at, as all processes know."""
        begun = self._pending is not None or self._written.has_failed_state
        is_first = self.last_saved is None and not begun
        return self._overdue or is_first or self.ends_block(step)

    def _read(self, log_data: Row, driver: AbstractDriver) -> float | None:
        monitor = self.retention.monitor
        if monitor is None or "suspect" in log_data:
            return None
        try:
            mean, _ = mean_and_error(*find(monitor, log_data, driver.loss_name))
        except LookupError:
            check_expected(monitor, log_data, driver)
            return None
        return float(np.real(np.asarray(mean)))

    def _contents(self, driver: AbstractDriver, monitored: float | None, ended: bool) -> Contents:
        return gather(driver, self._description, ended, monitored)

    def _take(self, driver: AbstractDriver, monitored: float | None) -> None:
        """Copy the state, to be written when the next loss is known."""
        self._last_time = time.monotonic()
        self._overdue = False
        self._pending = self._contents(driver, monitored, ended=False)

    def _settle_pending(self, driver: AbstractDriver) -> None:
        """Write the copied state, now that its loss is known."""
        pending, self._pending = self._pending, None
        assert pending is not None
        judgement = self._judgements[pending.manifest["step"]]
        if judgement.sound and not judgement.went_back:
            self._release(pending, driver)
        else:
            self._overdue = True
            if not self._written.has_failed_state:
                self._written.write_failed(pending)

    def _release(self, contents: Contents, driver: AbstractDriver) -> None:
        """Write in the background; after a failure, which is logged, the next one is tried."""
        with together("while it saved a checkpoint"):
            for callback in driver.hooks.callbacks:
                if isinstance(callback, AbstractLogger):
                    callback.sync()
        try:
            self._written.finish()
        except CheckpointError as error:
            if self.last_saved is None:
                raise
            text = "A checkpoint failed: %s. The run goes on; the newest is %s."
            _logger.error(text, error, self.last_saved.path)
        self._written.write(contents, ended=False)

    # After it.

    def _prepare_final(self, driver: AbstractDriver) -> None:
        """Copy the state before other callbacks change it at the end of the run."""
        pending, self._pending = self._pending, None
        # In a block another process may have stopped at an earlier step than this one.
        self._judgements.forget_after(driver.step_count)
        step = None if pending is None else pending.manifest["step"]
        if step in self._judgements and step != driver.step_count:
            self._pending, pending = pending, None
            self._settle_pending(driver)
        if driver.failed_state is not None:
            self._prepare_diverged(driver)
            return
        last = self.last_saved
        is_last = last is not None and last.end and last.step == driver.step_count
        already = is_last and last != self._extended
        if not self.save_on_stop and pending is not None:
            self._final = pending, not agree(not self._judgements.is_good(driver))
        elif self.save_on_stop and not already:
            monitored = None if pending is None else pending.manifest["monitored"]
            if pending is None and last is not None and last.step == driver.step_count:
                monitored = self._written.monitored(last)
            failed = driver.stop_reason in (StopReason.FAILED, StopReason.DIVERGED)
            good = not agree(failed or not self._judgements.is_good(driver))
            if driver.failed_state is not None:  # found just now
                self._prepare_diverged(driver)
            else:
                self._final = self._contents(driver, monitored, ended=True), good

    def _prepare_diverged(self, driver: AbstractDriver) -> None:
        """Copy the state at which the run diverged, and the last good one."""
        assert driver.failed_state is not None
        found, snapshot, went_back = driver.failed_state
        if not self._written.has_failed_state:
            self._written.write_failed(gather(driver, self._description, False, None, snapshot))
        # A driver without doubts goes back by one step, whatever the loss was there.
        step = driver.step_count - (found.quantity == "loss")
        sound = bool(driver.telling_doubts) or self._judgements.sound(step, unknown=False)
        if self.save_on_stop and went_back and sound and all_finite(driver):
            self._final = self._contents(driver, None, ended=False), True

    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        """Save, and wait until it is written."""
        final, self._final = self._final, None
        writing = self._written
        if final is not None:
            try:
                writing.finish()
            except CheckpointError as error:
                _logger.error("A checkpoint failed: %s", error)
            extended, self._extended = self._extended, None
            if extended is not None and extended.step == step:
                writing.folder.set_aside(extended)  # that of the same name takes its place
                agree(False)  # on all processes after it is gone
            contents, good = final
            if good:
                writing.write(contents, ended=contents.manifest["ended"] is not None)
            else:
                writing.write_failed(contents)
        writing.close()

    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        """Wait for a checkpoint being written; the state, maybe within a step, is not saved."""
        pending, self._pending = self._pending, None
        try:
            judged = pending is not None and pending.manifest["step"] in self._judgements
            if judged and is_single_process():
                self._pending = pending
                self._settle_pending(driver)
        except CheckpointError as failure:
            _logger.error("A checkpoint failed: %s", failure)
        finally:  # other processes may wait elsewhere
            failed = "" if self._writing is None else self._writing.finish_here()
            if failed:
                _logger.error("A checkpoint failed: %s", failed)
