"""Accepts an update only if the loss after it is no worse than expected."""

import numpy as np
from typing_extensions import override

from ritz.callbacks.scales import require
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder
from ritz.driver.rows import error_of, mean_of
from ritz.driver.signatures import suggests_names
from ritz.types import Loss, Row

_SCALES = {"damping": "damping_scale", "rate": "rate_scale"}


class TrustRegion(AbstractCallback):
    """Rejects a step whose trial loss is higher than the loss by more than a tolerance.

    The trial loss is the loss after the update on the samples of this step, reweighted where
    they depend on the parameters, so that both share their noise. On rejection the diagonal shift
    is multiplied by `factor` (or the learning rate divided by it); after each accepted step it
    goes back by `relax` towards its own value (Levenberg-Marquardt damping: Marquardt, J. SIAM
    11, 431 (1963)).

    Args:
        tolerance: How much worse the trial loss may be, in the loss's units.
        z: How much worse it may be, in error bars of the loss; added to `tolerance`.
        adjust: "damping" or "rate": what is changed on rejection.
        factor: Factor of that change, above 1.
        relax: Factor by which it goes back after an accepted step, at least 1.
        limit: The largest total factor; beyond it every step is accepted.
    """

    callback_order = CallbackOrder.USER
    state_fields = ("_strength",)
    logs = ("trial_loss", "damping_scale", "rate_scale")

    @suggests_names
    def __init__(
        self,
        tolerance: float = 0.0,
        z: float = 1.0,
        adjust: str = "damping",
        factor: float = 4.0,
        relax: float = 1.5,
        limit: float = 1e6,
    ):
        if adjust not in _SCALES:
            raise ValueError(
                f"adjust must be one of {', '.join(_SCALES)}, but {adjust!r} was given."
            )
        self.tolerance = check_number("tolerance", tolerance, 0)
        self.z = check_number("z", z, 0)
        self.adjust = adjust
        self.factor = check_number("factor", factor, 1, strict=True)
        self.relax = check_number("relax", relax, 1)
        self.limit = check_number("limit", limit, 1)
        self._strength = 1.0
        self._trial: float | None = None

    def _apply(self, driver: AbstractDriver) -> None:
        value = self._strength if self.adjust == "damping" else 1 / self._strength
        setattr(driver, _SCALES[self.adjust], value)

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        require(driver, _SCALES[self.adjust], "TrustRegion")
        self._apply(driver)

    @override
    def on_compute_update_end(self, step: int, log_data: Row, driver: AbstractDriver) -> bool:
        loss, error = _mean_and_error(driver.loss)
        self._trial, _ = _mean_and_error(driver.trial_loss(driver.update))
        allowed = loss + self.tolerance + self.z * error
        # A trial loss that is not a number is rejected too.
        if self._trial <= allowed or self._strength >= self.limit:
            return False
        self._strength = min(self._strength * self.factor, self.limit)
        self._apply(driver)
        return True

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        log_data["trial_loss"] = self._trial
        log_data[_SCALES[self.adjust]] = getattr(driver, _SCALES[self.adjust])

    @override
    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        self._strength = max(self._strength / self.relax, 1.0)
        self._apply(driver)


def _mean_and_error(loss: Loss) -> tuple[float, float]:
    error = error_of(loss)
    error = 0.0 if error is None else float(np.real(error))
    return float(np.real(mean_of(loss))), error if np.isfinite(error) else 0.0
