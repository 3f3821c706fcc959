"""Deals with a loss that is NaN or infinite."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_expected, check_number, find
from ritz.driver.callback import StopRun

_DEFAULT_PATIENCE = {"stop": 0, "reject": None, "rollback": 3}


class InvalidLossStopping(StopCondition):
    """Stops, retries or goes back when the loss is not finite.

    With the policy "stop" and no patience, the update of an invalid loss is never applied.

    Args:
        monitor: A logged quantity, or a part of the loss such as "mean" or "variance". All
            components of an array must be finite.
        patience: "stop": invalid steps tolerated since the last valid one (0 by default).
            "reject": attempts at one step before the run is stopped (by default `max_attempts` of
            `run` decides). "rollback": how often in a run to go back before it is stopped (3).
        policy: "stop" ends the run before the update. "reject" tries the step again with fresh
            samples. "rollback" restores the state of the last valid step, then tries again.
    """

    state_fields = ("_last_valid_iter", "_rollbacks")

    def __init__(self, monitor: str = "mean", patience: int | None = None, policy: str = "stop"):
        if policy not in _DEFAULT_PATIENCE:
            raise ValueError(
                f"policy must be one of {', '.join(_DEFAULT_PATIENCE)}, but {policy!r} was given."
            )
        self.monitor = monitor
        self.policy = policy
        self.patience = _DEFAULT_PATIENCE[policy] if patience is None else patience
        if self.patience is not None:
            check_number("patience", self.patience, 0)
        self._last_valid_iter = 0
        self._rollbacks = 0
        self._snapshot: Any = None

    def _value(self, log_data: Mapping[str, Any], driver: Any, *, complete: bool) -> Any:
        """The monitored value; None if there is no loss, or if the row may not have it yet."""
        if driver._loss_stats is None:
            return None
        name = getattr(driver, "_loss_name", "loss")
        row = {name: driver._loss_stats, **log_data}
        try:
            value, _ = find(self.monitor, row, name)
        except LookupError:
            if complete:
                check_expected(self.monitor, row, driver)
            return None
        return getattr(value, "mean", None) if hasattr(value, "error_of_mean") else value

    def _valid(self, value: Any) -> bool:
        return value is None or bool(np.all(np.isfinite(np.asarray(value))))

    def on_run_start(self, step: int, driver: Any) -> None:
        """Forget the snapshot of another run."""
        super().on_run_start(step, driver)
        self._snapshot = None
        self._rollbacks = 0

    def on_compute_update_end(self, step: int, log_data: dict[str, Any], driver: Any) -> bool:
        """Reject an invalid loss, unless the policy is to stop."""
        value = self._value(log_data, driver, complete=False)
        if self.policy == "stop" or self._valid(value):
            return False
        if self.policy == "reject":
            if self.patience is not None and driver.step_attempt >= self.patience:
                raise StopRun(f"{self.monitor} is {value} after {driver.step_attempt} retries")
            return True
        if self._snapshot is None:
            raise StopRun(f"{self.monitor} is {value} and there was no valid step to go back to")
        if self.patience is not None and self._rollbacks >= self.patience:
            raise StopRun(f"{self.monitor} is {value} after going back {self._rollbacks} times")
        driver.restore(self._snapshot, fresh_samples=True)
        self._rollbacks += 1
        return True

    def should_stop(self, step: int | None, log_data: Mapping[str, Any], driver: Any) -> str | None:
        """Look whether the loss is finite, and for how long it has not been."""
        if driver.step_count < self._last_valid_iter:  # another driver, or one that went back
            self._last_valid_iter = 0
        value = self._value(log_data, driver, complete=True)
        if self._valid(value):
            if value is not None:
                self._last_valid_iter = driver.step_count
                if self.policy == "rollback":
                    self._snapshot = driver.snapshot()
            return None
        invalid_for = driver.step_count - self._last_valid_iter
        if self.patience is None or invalid_for < self.patience:
            return None
        return f"{self.monitor} is {value}, for {invalid_for} steps since the last valid one"

    def is_live(self, step: int) -> bool:
        """Live where a snapshot of the driver's state is taken."""
        return self.policy == "rollback"
