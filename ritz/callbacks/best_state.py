"""Keeps the best parameters of a run."""

import math
from typing import Any

from ritz.callbacks.monitor import check_mode, check_number, read
from ritz.driver.callback import AbstractCallback


class BestState(AbstractCallback):
    """Keeps the parameters with the best monitored quantity, judged by mean plus `z` errors.

    A noisy estimate far below the others is often just noise; adding its error bar keeps such a
    fluctuation from being called the best.

    Args:
        monitor: A logged quantity such as "Energy", or a part of the loss such as "mean".
        z: How many error bars are added to the mean ("min") or taken off it ("max").
        restore: Whether the driver goes back to the best parameters when the run ends, in
            whatever way it ends.
        mode: "min" if lower is better, "max" if higher is.
    """

    state_fields = ("best_score", "best_value", "best_step", "parameters")

    def __init__(
        self, monitor: str = "mean", z: float = 1.0, restore: bool = False, mode: str = "min"
    ):
        self.monitor = monitor
        self.z = check_number("z", z, 0)
        self.restore = restore
        self.mode = check_mode(mode)
        self.best_score = math.inf
        self.best_value = math.nan
        self.best_step: int | None = None
        self.parameters: Any = None
        """The best parameters; None before the first step."""

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Compare; the parameters are those that the loss was computed with."""
        found = read(self.monitor, log_data, driver)
        if found is None:
            return
        value, error = found
        score = (value if self.mode == "min" else -value) + self.z * (
            error if math.isfinite(error) else 0.0
        )
        if score < self.best_score:
            self.best_score, self.best_value, self.best_step = score, value, step
            self.parameters = driver.snapshot_parameters()

    def load_into(self, driver: Any) -> None:
        """Give the best parameters to `driver`, if there are any."""
        if self.parameters is not None:
            driver.parameters = self.parameters

    def on_run_end(self, step: int, driver: Any) -> None:
        """Restore if asked to."""
        if self.restore:
            self.load_into(driver)

    def on_run_error(self, step: int, error: BaseException, driver: Any) -> None:
        """Restore if asked to."""
        if self.restore:
            self.load_into(driver)
