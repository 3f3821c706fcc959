"""Stops a run when a quantity is NaN or infinite."""

import numpy as np
from typing_extensions import override

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_expected, check_monitor, find
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import StopReason
from ritz.driver.rows import leaves
from ritz.driver.signatures import suggests_names
from ritz.types import Row
from ritz.wording import counted

_NO_VALUE = (
    "R_hat",
    "TauCorr",
    "TauCorrMax",
    "Sigma",
    "r_hat",
    "tau_corr",
    "tau_corr_max",
    "error_of_mean",
)
"""Diagnostics that have no value for single chains or few samples."""


class InvalidLossStopping(StopCondition):
    """Stops when a quantity is not finite, before the update of that step.

    Every run already ends when its *loss* is not finite, see `on_divergence` of `run`; use this
    condition to watch other quantities, or to tolerate some invalid steps.

    Args:
        monitor: A logged quantity, or a part of the loss such as "mean" or "variance"; None for
            everything that is logged. All components of an array and all parts of a statistic must
            be finite, except the diagnostics of chains, which may be undefined.
        patience: Invalid steps tolerated since the last valid one. With a patience the run goes on
            over losses that are not finite, unless `on_divergence` of `run` is given.

    Raises:
        TypeError: If `monitor` is neither text nor None.
        ValueError: If `patience` is negative.
    """

    state_fields = ("_last_valid_iter",)
    reason = StopReason.DIVERGED

    @suggests_names
    def __init__(self, monitor: str | None = "mean", patience: int = 0):
        self.monitor = None if monitor is None else check_monitor(monitor)
        self.patience = check_number("patience", patience, 0)
        self._last_valid_iter = 0

    @property
    def tolerates_divergence(self) -> bool:  # type: ignore[override]
        """True with a patience: this condition then decides about invalid losses."""
        return self.patience > 0

    def _watched(self, log_data: Row, driver: AbstractDriver) -> Row:
        """The values that must be finite; none if there is no loss."""
        if driver._loss_stats is None:
            return {}
        name = getattr(driver, "_loss_name", "loss")
        row = {name: driver._loss_stats, **log_data}
        if self.monitor is None:
            return row
        try:
            value, _ = find(self.monitor, row, name)
        except LookupError:
            check_expected(self.monitor, row, driver)
            return {}
        return {self.monitor: value}

    @override
    def should_stop(self, step: int | None, log_data: Row, driver: AbstractDriver) -> str | None:
        # Another driver, or one that was restored to an earlier step.
        if driver.step_count < self._last_valid_iter:
            self._last_valid_iter = 0
        watched = self._watched(log_data, driver)
        invalid = [(name, bad) for name, v in watched.items() if (bad := _invalid(v)) is not None]
        if not invalid:
            if watched:
                self._last_valid_iter = driver.step_count
            return None
        invalid_for = driver.step_count - self._last_valid_iter
        if invalid_for < self.patience:
            return None
        name, value = invalid[0]
        if not self.patience:
            return f"{name} is {value} at step {driver.step_count}"
        return f"{name} is {value}, for {counted(invalid_for, 'step')} since the last valid one"


def _invalid(value: object) -> object:
    """A part of `value` that is not finite, or None."""
    mean = getattr(value, "mean", None)
    if mean is not None and not callable(mean):
        value = {"mean": mean, "variance": getattr(value, "variance", None)}
    for path, leaf in leaves({"": value}):
        array = np.asarray(leaf)
        if path[-1] not in _NO_VALUE and array.dtype.kind in "fc":
            bad = array[~np.isfinite(array)]
            if bad.size:
                return bad[0]
    return None
