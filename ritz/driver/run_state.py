"""Counters, clock and outcome of a run."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

from ritz.checks import check_choice, check_count
from ritz.driver.callback import AbstractCallback
from ritz.driver.divergence import POLICIES
from ritz.driver.hooks import HookList
from ritz.driver.processes.consensus import cause_of
from ritz.driver.stop import StopReason
from ritz.types import Loss, Row

MAX_ATTEMPTS = 10
"""Default limit of attempts at one step."""


class StepInfo(NamedTuple):
    """Result of a step, yielded by `AbstractDriver.steps`."""

    step: int
    """The step that has ended; `driver.step_count` is one more."""
    loss: Loss
    """The loss at the parameters before this step's update."""
    log_data: Row
    """The row that was logged."""


Steps = Generator[StepInfo, None, None]
"""The steps of a run, as they are taken."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of a run; see `AbstractDriver.run`."""

    max_attempts: int = MAX_ATTEMPTS
    max_block: int | None = None
    speculate: bool = True
    resume: bool | str | Path = False
    on_divergence: str | None = None
    each: bool = False
    """Whether a `StepInfo` is yielded for each step."""

    def check(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ValueError: Naming the argument.
        """
        check_count("max_attempts", self.max_attempts, 1)
        if self.max_block is not None:
            check_count("max_block", self.max_block, 1)
        if self.on_divergence is not None:
            check_choice("on_divergence", self.on_divergence, POLICIES)


class RunState:
    """Counters, clock, callbacks and end of a driver's present (or last) run."""

    def __init__(self) -> None:
        self.step_count = 0
        """Number of updates applied since the driver was made."""
        self.target_step = 0
        """The step count at which the run ends if nothing stops it."""
        self.attempt = 0
        """Number of rejected attempts at the present step."""
        self.went_back = False
        """Whether the driver went back to an earlier step during the present one."""
        self.block: range | None = None
        """The steps of the block whose hooks are being called."""
        self.options = RunOptions()
        self.hooks = HookList(())
        self.loggers: tuple[AbstractCallback, ...] = ()
        self.is_running = False
        self.stop_reason: StopReason | None = None
        self.stop_message = ""
        self.elapsed = 0.0
        """The `wallclock` of the last row, in seconds."""
        self.began: float | None = None
        """When `wallclock` was zero, as `time.perf_counter` counts; None before the first row."""
        self.resources = contextlib.ExitStack()
        """Context managers that are left when the run is over."""
        self.after_step: list[Callable[[], None]] = []
        """Actions to take at the end of the present step."""
        self.after_steps: list[Callable[[], None]] = []
        """Actions to take after the run's last step."""

    def begin(self, options: RunOptions, target_step: int) -> None:
        """Note that the steps of a run begin."""
        self.options, self.target_step, self.is_running = options, target_step, True
        self.after_step, self.after_steps = [], []

    def resume_at(self, step: int, elapsed: float) -> None:
        """Count steps from `step` on, and `wallclock` from `elapsed` seconds on."""
        self.step_count, self.elapsed = step, elapsed
        self.began = time.perf_counter() - elapsed

    def stop(self, reason: StopReason, message: str) -> None:
        """Note why the run is ending."""
        self.stop_reason, self.stop_message = reason, message

    def fail(self, error: BaseException) -> None:
        """Note that the run is ending by an error, or by what has caused it."""
        self.stop(StopReason.FAILED, cause_of(error) or f"failed with {error!r}")

    def tick(self, now: float) -> float:
        """The `wallclock` of a row whose loss was known at `now`, by `time.perf_counter`."""
        if self.began is None:
            self.began = now
        self.elapsed = now - self.began
        return self.elapsed

    def end_step(self, whole: bool) -> None:
        """Take the actions that wait for the end of the present step.

        Args:
            whole: Whether its update was applied and all callbacks got its hooks; the rest is
                dropped otherwise.
        """
        actions, self.after_step = self.after_step, []
        for action in actions if whole else ():
            self.hooks.act(action, self.step_count)

    def leave_steps(self) -> None:
        """Take the actions that wait for the end of the run's steps."""
        actions, self.after_steps = self.after_steps, []
        for action in actions:
            action()
