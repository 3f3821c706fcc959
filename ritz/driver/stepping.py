"""Methods of a driver that the run loop calls."""

import time
from collections.abc import Iterator

from ritz.driver.guarded import Guarded
from ritz.driver.hooks import HookList
from ritz.driver.run_state import StepInfo, Steps
from ritz.types import Row


class Stepping(Guarded):
    """Brings the methods of a step together with counters, clock and rows."""

    def around(self, steps: Steps) -> Steps:
        """The steps of a run as users get them; for drivers that act around each step."""
        return steps

    @property
    def waits_for_step(self) -> bool:
        """Whether an action waits for the end of the present step, see `after_step`."""
        return bool(self.run_state.after_step)

    def plan_block(self, first: int) -> int:
        """Length of the block from `first` on that suits this process; 0 for a live step."""
        return 0

    def take_back(self, step: int, filled: bool, counted: bool) -> bool:
        """Go back to an earlier step of the block whose hooks are called.

        Args:
            step: The step.
            filled: Whether its row was filled there.
            counted: Whether its update had been applied.

        Returns:
            Whether that was possible.
        """
        return False

    def begin_step(self, hooks: HookList) -> None:
        """Called before each step; a driver with a kernel may compute a block of them."""

    def replay_block(self, hooks: HookList) -> Iterator[StepInfo]:
        """Replay the steps of a block but its last, as far as only rows and hooks matter.

        Yields:
            What `steps` yields, if it is used.
        """
        yield from ()

    def settle(self) -> None:
        """Called when a run leaves its steps: restore the state after the counted steps."""
        self.leave_diverged()

    def begin_attempt(self, attempt: int) -> None:
        """Note that attempt number `attempt` of the present step begins."""
        self.run_state.attempt, self.run_state.went_back = attempt, False

    def propose(self) -> None:
        """Compute loss and update of the attempt and store both in the driver."""
        self._loss_stats, self._dp = self.compute_loss_and_update()

    def count_step(self, counted: bool, whole: bool = True) -> None:
        """Count the step that has ended, and take the actions that wait for its end.

        Args:
            counted: Whether its update was applied; it does not count if `take_back` was called
                since.
            whole: Whether all callbacks got its hooks.
        """
        state = self.run_state
        counted = counted and not state.went_back
        if counted:
            self._count()
        self._guard.in_step = 0
        if state.after_step:
            state.end_step(counted and whole)

    def _count(self) -> None:
        """Count the present step, whose update was applied."""
        self.run_state.step_count += 1

    def fill_row(self, log_data: Row) -> None:
        """Add the loss and what the driver logs to the row of an accepted step."""
        if self._loss_stats is not None:
            log_data[self._loss_name] = self._loss_stats
        if self.step_attempt:
            log_data["attempts"] = self.step_attempt + 1
        if self._guard.in_step:
            log_data["retries"] = self._guard.in_step
        self._log_additional_data(log_data)
        log_data["wallclock"] = self.run_state.tick(self._clock())

    def _clock(self) -> float:
        """Time at which the present step's loss was known."""
        return time.perf_counter()
