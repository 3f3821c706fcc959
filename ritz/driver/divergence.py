"""Policies for losses, updates and parameters that are not finite."""

import logging
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import PyTree

from ritz.driver.finite import is_finite, loss_parts
from ritz.driver.rows import mean_of
from ritz.driver.stop import StopReason, StopRun
from ritz.types import Loss
from ritz.wording import counted

if TYPE_CHECKING:
    from ritz.driver.step_provider import StepProvider

_logger = logging.getLogger("ritz")

POLICIES = ("stop", "retry", "ignore")
"""Allowed values of `on_divergence` of `run`."""

MOST_RETRIES = 5
"""Number of retries in a row after which a run stops."""

MORE_DAMPING = 10.0
LESS_RATE = 0.5


class Divergence(NamedTuple):
    """A quantity that is not finite, and the loss of its step."""

    quantity: str
    """"loss", "update" or "parameters"."""
    loss: Loss = None
    """The loss of the step."""

    def sentence(self, loss_name: str, step: int) -> str:
        """Message that names the quantity and the step."""
        if self.quantity == "loss":
            return f"the loss {loss_name!r} is not finite at step {step} ({mean_of(self.loss)})"
        if self.quantity == "update":
            return f"the update of step {step} is not finite"
        return f"the parameters are not finite after the update of step {step}"


class DivergedError(StopRun):
    """Ends a run whose loss, update or parameters are not finite; raised before the update."""

    reason = StopReason.DIVERGED


class Guard:
    """Applies the policy of one run and counts its retries.

    Args:
        policy: One of `POLICIES`.
    """

    def __init__(self, policy: str = "stop"):
        self.policy = policy
        self.in_step = 0
        """Number of retries of the present step."""
        self._in_a_row = 0

    @property
    def watches(self) -> bool:
        """Whether anything is done about what is not finite."""
        return self.policy != "ignore"

    @property
    def may_retry(self) -> bool:
        """Whether the run may go back once more."""
        return self.policy == "retry" and self._in_a_row < MOST_RETRIES

    def begin_step(self) -> None:
        """Reset the retries of the present step."""
        self.in_step = 0

    def passed(self) -> None:
        """Note that the loss of the step is finite, so that the state before it was good."""
        if self.in_step == 0:
            self._in_a_row = 0

    def retry(self, driver: "StepProvider", found: Divergence) -> None:
        """Count that the run goes back, and make its next steps more careful."""
        self.in_step += 1
        self._in_a_row += 1
        changed = self._calm(driver)
        _logger.warning(
            "Step %d: %s; back to the last good state with other samples%s (%d of at most %d times "
            "in a row).",
            driver.step_count,
            found.sentence(driver.loss_name, driver.step_count),
            changed,
            self._in_a_row,
            MOST_RETRIES,
        )

    @staticmethod
    def _calm(driver: "StepProvider") -> str:
        if "damping_scale" in driver.adjustable:
            driver.damping_scale = driver.damping_scale * MORE_DAMPING
            return f" and damping_scale={driver.damping_scale:g}"
        if "rate_scale" in driver.adjustable:
            driver.rate_scale = driver.rate_scale * LESS_RATE
            return f" and rate_scale={driver.rate_scale:g}"
        return ""

    def stop(self, driver: "StepProvider", found: Divergence) -> DivergedError:
        """The exception that ends the run, with what to try."""
        said = found.sentence(driver.loss_name, driver.step_count)
        tried = f" after going back {counted(self._in_a_row, 'time')}" if self._in_a_row else ""
        return DivergedError(f"{said}{tried}; {self._advice(driver)}")

    def _advice(self, driver: "StepProvider") -> str:
        what = ["a smaller learning rate"]
        if "damping_scale" in driver.adjustable:
            what.append("more damping (diag_shift)")
        if self.policy != "retry":
            what.append('on_divergence="retry"')
        return "try " + ", ".join(what[:-1]) + " or " * (len(what) > 1) + what[-1]


def examine(loss: Loss, update: PyTree) -> Divergence | None:
    """The first of loss and update, on the host, that is not finite; None if both are."""
    if not is_finite(loss_parts(loss)):
        return Divergence("loss", loss)
    if not is_finite(update):
        return Divergence("update", loss)
    return None
