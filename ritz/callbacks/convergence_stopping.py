"""Stops a run that has reached a target."""

from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_monitor, period, read_finite
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.signatures import suggests_names
from ritz.types import Row
from ritz.wording import counted


class ConvergenceStopping(StopCondition):
    """Stops when the smoothed quantity was at or below `target` for more than `patience` steps.

    Args:
        target: The value to reach, in the units of the monitored quantity.
        patience: Number of further steps for which the target must hold.
        smoothing_window: Steps over which the quantity is averaged.
        monitor: A logged quantity such as "Energy.variance", or a part of the loss.
    """

    state_fields = ("_loss_window", "_patience_counter")

    @suggests_names
    def __init__(
        self,
        target: float,
        patience: int = 10,
        smoothing_window: int = 10,
        monitor: str = "mean",
    ):
        self.target = target
        self.patience = check_number("patience", patience, 0)
        self.smoothing_window = int(check_number("smoothing_window", smoothing_window, 1))
        self.monitor = check_monitor(monitor)
        self._loss_window: list[float] = []
        self._patience_counter = 0

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        found = read_finite(self.monitor, log_data, driver)
        if found is None:
            return None
        self._loss_window = [*self._loss_window, found[0]][-self.smoothing_window :]
        smooth = sum(self._loss_window) / len(self._loss_window)
        self._patience_counter = self._patience_counter + 1 if smooth <= self.target else 0
        if self._patience_counter <= self.patience:
            return None
        unit, _ = period(self.monitor, driver)
        return (
            f"{self.monitor}, smoothed to {smooth:.8g}, has been at or below {self.target:g} for "
            f"{counted(self._patience_counter, unit)}"
        )

    @override
    def rearm(self) -> None:
        self._patience_counter = 0
