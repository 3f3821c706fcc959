"""Stops a run whose remaining progress is smaller than its statistical error."""

import math

import numpy as np
from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_monitor, period, read_finite
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.signatures import suggests_names
from ritz.types import Row
from ritz.wording import counted


class PlateauStopping(StopCondition):
    """Stops when the change over a window of steps is within `z` error bars.

    A straight line is fitted to the last `window` values, each weighted by its error bar
    (weighted least squares; Bevington and Robinson, Data Reduction and Error Analysis, ch. 6).
    The change is the fitted slope times the window's length, and its error follows from the
    error bars of the values. Values without error bars are weighted equally, and the scatter
    about the line takes the place of the error bars.

    While the loss still falls by more than z standard errors, the run goes on, however slowly:
    no threshold in units of energy has to be chosen.

    Args:
        monitor: A logged quantity such as "Energy", or a part of the loss such as "mean".
        window: The number of steps in the fit, at least 3.
        z: The size of a change that counts as noise, in standard errors.
        patience: Number of further steps in a row for which the change must stay below that.
    """

    state_fields = ("_values", "_errors", "_patience_counter")

    @suggests_names
    def __init__(self, monitor: str = "mean", window: int = 100, z: float = 1.0, patience: int = 0):
        self.monitor = check_monitor(monitor)
        self.window = int(check_number("window", window, 3))
        self.z = check_number("z", z, 0, strict=True)
        self.patience = check_number("patience", patience, 0)
        self._values: list[float] = []
        self._errors: list[float] = []
        self._patience_counter = 0

    @override
    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        found = read_finite(self.monitor, log_data, driver)
        if found is None:
            return None
        self._values = [*self._values, found[0]][-self.window :]
        self._errors = [*self._errors, found[1]][-self.window :]
        if len(self._values) < self.window:
            return None
        change, error = fitted_change(np.array(self._values), np.array(self._errors))
        self._patience_counter = self._patience_counter + 1 if abs(change) <= self.z * error else 0
        if self._patience_counter <= self.patience:
            return None
        unit, _ = period(self.monitor, driver)
        return (
            f"{self.monitor} changed by {change:.2g} over {counted(self.window, unit)}, within "
            f"{self.z:g} x its error of {error:.2g}"
        )

    @override
    def rearm(self) -> None:
        self._values, self._errors, self._patience_counter = [], [], 0


def fitted_change(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """The change of `values` over their range by a weighted linear fit, and its standard error.

    Args:
        values: Equally spaced values, shape (n,), n >= 3.
        errors: Their standard errors, shape (n,); where any is not positive and finite, the
            scatter of the values about the line is used for all.

    Returns:
        The change and its standard error; the change is NaN if any value is.
    """
    n = len(values)
    if not np.all(np.isfinite(values)):
        return math.nan, math.nan
    known = bool(np.all(np.isfinite(errors)) and np.all(errors > 0))
    weights, covariance = (1 / errors, "unscaled") if known else (None, True)
    rises = values - values[0]  # so that a constant has no slope, not one from rounding
    (slope, _), ((variance, _), _) = np.polyfit(np.arange(n), rises, 1, w=weights, cov=covariance)
    return float(slope * (n - 1)), float(math.sqrt(variance) * (n - 1))
