"""Stops a run that no longer improves."""

import math

from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_mode, check_monitor, improves, period, read_finite
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.signatures import suggests_names
from ritz.types import Row
from ritz.wording import counted


class EarlyStopping(StopCondition):
    """Stops when the monitored quantity has not improved for more than `patience` steps.

    Rows marked as `suspect` never count as an improvement. For a quantity that is logged once per
    epoch, such as the errors of a potential, `patience` counts epochs.

    Args:
        monitor: A logged quantity such as "Energy.mean", or a part of the loss such as "mean".
        patience: Steps (or epochs) without improvement that are tolerated.
        min_delta: A change by less than this is no improvement.
        min_reldelta: A change by less than this fraction of the best |value| is none either.
        baseline: Improvements only count if they also beat this value.
        start_from_step: Earlier steps are ignored entirely.
        mode: "min" if lower is better, "max" if higher is.
    """

    state_fields = ("_best_val", "_best_iter", "_best_patience_counter")

    @suggests_names
    def __init__(
        self,
        monitor: str = "mean",
        patience: float = 0,
        min_delta: float = 0.0,
        min_reldelta: float = 0.0,
        baseline: float | None = None,
        start_from_step: int = 0,
        mode: str = "min",
    ):
        self.monitor = check_monitor(monitor)
        self.patience = check_number("patience", patience, 0)
        self.min_delta = check_number("min_delta", min_delta, 0)
        self.min_reldelta = check_number("min_reldelta", min_reldelta, 0)
        self.baseline = baseline
        self.start_from_step = start_from_step
        self.mode = check_mode(mode)
        self._best_val = math.inf if mode == "min" else -math.inf
        self._best_iter = 0
        self._best_patience_counter = 0

    @property
    def best_value(self) -> float:
        """Best monitored value so far."""
        return self._best_val

    @property
    def best_step(self) -> int:
        """The step of the best value."""
        return self._best_iter

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        if step < self.start_from_step:
            return None
        found = read_finite(self.monitor, log_data, driver)
        if found is None:
            return None
        value = found[0]
        self._best_patience_counter += 1
        margins = self.min_delta, self.min_reldelta, self.mode
        if "suspect" not in log_data and improves(value, self._best_val, *margins):
            self._best_val, self._best_iter = value, step
            if self.baseline is None or improves(value, self.baseline, *margins):
                self._best_patience_counter = 0
        if self._best_patience_counter <= self.patience:
            return None
        unit, n_steps = period(self.monitor, driver)
        return (
            f"{self.monitor} has not improved for {counted(self._best_patience_counter, unit)}; "
            f"the best was {self._best_val:.8g} at {unit} {self._best_iter // n_steps}"
        )

    def rearm(self) -> None:
        """Start the patience anew for another run; the best value is kept."""
        self._best_patience_counter = 0
