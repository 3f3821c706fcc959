"""Ends a stage at the first NaN."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ritz.callbacks.conditions import StopCondition
from ritz.callbacks.monitor import check_expected, find
from ritz.driver.callback import StopReason
from ritz.driver.rows import leaves

LOSS = "loss"
"""Stands for the loss of a driver, whatever its name."""

_MAY_BE_NAN = (
    "R_hat", "TauCorr", "TauCorrMax", "Sigma", "r_hat", "tau_corr", "tau_corr_max", "error_of_mean",
)  # fmt: skip
"""Diagnostics that have no value for single chains or few samples."""


class StopOnNaN(StopCondition):
    """Ends the run as failed, before the update, when a statistic is NaN.

    A NaN in any part of a quantity counts: in one component of an array, in the mean or in the
    variance. Diagnostics of chains, which may have no value, do not.

    Args:
        keys: The quantities, "loss" for the loss; None for all in the row.
    """

    reason = StopReason.FAILED

    def __init__(self, keys: tuple[str, ...] | None = (LOSS,)):
        self.keys = keys
        self.found: str | None = None
        """Where the NaN was."""

    def on_run_start(self, step: int, driver: Any) -> None:
        """Nothing is found yet."""
        super().on_run_start(step, driver)
        self.found = None

    def should_stop(self, step: int, log_data: Mapping[str, Any], driver: Any) -> str | None:
        """Look at the row."""
        for key in log_data if self.keys is None else self.keys:
            name = driver.loss_name if key == LOSS else key
            try:
                value, _ = find(name, log_data, driver.loss_name)
            except LookupError:
                check_expected(name, log_data, driver)
                continue
            if _has_nan(value):
                self.found = name
                return f"{name} has a NaN at step {step}: {value}"
        return None


def _has_nan(value: Any) -> bool:
    for path, leaf in leaves({"": value}):
        array = np.asarray(leaf)
        if path[-1] not in _MAY_BE_NAN and array.dtype.kind in "fc" and np.any(np.isnan(array)):
            return True
    return False
