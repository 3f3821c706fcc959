"""Lowers the learning rate when progress stalls."""

import functools
import logging
import math

from typing_extensions import override

from ritz.callbacks.monitor import check_mode, check_monitor, improves, read_finite
from ritz.callbacks.scales import require
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, never_live
from ritz.driver.signatures import suggests_names
from ritz.types import Row

_logger = logging.getLogger(__name__)


class ReduceLROnPlateau(AbstractCallback):
    """Multiplies the learning rate by `factor` after `patience` steps without improvement.

    It sets `driver.rate_scale`, which multiplies the optimiser's own rate or schedule, and logs it.
    Rows marked as `suspect` never count as an improvement.

    Args:
        monitor: A logged quantity such as "Energy.mean", or a part of the loss such as "mean".
        factor: Factor of each reduction, in (0, 1).
        patience: Steps without improvement that are tolerated.
        min_delta: A change by less than this is no improvement.
        min_reldelta: A change by less than this fraction of the best |value| is none either.
        cooldown: Steps after a reduction that are not counted.
        min_scale: The rate is never lowered below this fraction of the optimiser's own.
        mode: "min" if lower is better, "max" if higher is.
    """

    state_fields = ("_best", "_waited", "_cooling", "_scale")
    logs = ("rate_scale",)

    @suggests_names
    def __init__(
        self,
        monitor: str = "mean",
        factor: float = 0.5,
        patience: int = 20,
        min_delta: float = 0.0,
        min_reldelta: float = 0.0,
        cooldown: int = 0,
        min_scale: float = 1e-3,
        mode: str = "min",
    ):
        check_number("factor", factor, 0, strict=True)
        if factor >= 1:
            raise ValueError(f"factor must be below 1, but {factor!r} was given.")
        self.monitor = check_monitor(monitor)
        self.factor = factor
        self.patience = check_number("patience", patience, 0)
        self.min_delta = check_number("min_delta", min_delta, 0)
        self.min_reldelta = check_number("min_reldelta", min_reldelta, 0)
        self.cooldown = check_number("cooldown", cooldown, 0)
        self.min_scale = check_number("min_scale", min_scale, 0)
        self.mode = check_mode(mode)
        self._best = math.inf if mode == "min" else -math.inf
        self._waited = 0
        self._cooling = 0
        self._scale: float | None = None

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        require(driver, "rate_scale", "ReduceLROnPlateau")
        if self._scale is not None:
            driver.rate_scale = self._scale

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Lower the rate from the next step on if there was no improvement for too long."""
        scale = float(driver.rate_scale)
        log_data["rate_scale"] = self._scale = scale
        found = read_finite(self.monitor, log_data, driver)
        if found is not None and self._is_due(found[0], scale, "suspect" in log_data):
            self._scale = max(scale * self.factor, self.min_scale)
            driver.after_step(functools.partial(setattr, driver, "rate_scale", self._scale))
            _logger.info("Step %d: rate scale lowered to %g.", step, self._scale)

    is_live = never_live

    def _is_due(self, value: float, scale: float, suspect: bool) -> bool:
        if not suspect and improves(
            value, self._best, self.min_delta, self.min_reldelta, self.mode
        ):
            self._best, self._waited = value, 0
        elif self._cooling > 0:
            self._cooling -= 1
        else:
            self._waited += 1
        if self._waited <= self.patience or scale <= self.min_scale:
            return False
        self._waited, self._cooling = 0, self.cooldown
        return True
