"""Stops a run after a time."""

import time

from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import StopReason
from ritz.driver.signatures import suggests_names
from ritz.types import Row, State


class Timeout(StopCondition):
    """Stops when `total` seconds were spent in all runs, or `per_run` seconds in this one.

    Args:
        total: Seconds in all runs with this callback, including those before a resume.
        per_run: Seconds in each run.
    """

    reason = StopReason.TIMED_OUT
    state_fields = ("elapsed_before",)

    @suggests_names
    def __init__(self, total: float | None = None, per_run: float | None = None):
        if total is None and per_run is None:
            raise ValueError("give Timeout a limit in seconds: total=..., per_run=..., or both.")
        self.total = None if total is None else check_number("total", total, 0, strict=True)
        self.per_run = None if per_run is None else check_number("per_run", per_run, 0, strict=True)
        self.elapsed_before = 0.0
        self._started: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds spent in this run."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        super().on_run_start(step, driver)
        self._started = time.monotonic()

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        elapsed = 0.0 if self._started is None else time.monotonic() - self._started
        if self.per_run is not None and elapsed >= self.per_run:
            return f"this run has taken {elapsed:.1f} s of {self.per_run:g} s"
        if self.total is not None and self.elapsed_before + elapsed >= self.total:
            return f"all runs took {self.elapsed_before + elapsed:.1f} s of {self.total:g} s"
        return None

    def _stop_clock(self) -> None:
        self.elapsed_before += self.elapsed
        self._started = None

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self._stop_clock()

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._stop_clock()

    @override
    def state_dict(self) -> State:
        return {"elapsed_before": self.elapsed_before + self.elapsed}
