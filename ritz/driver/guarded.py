"""The part of every driver that handles losses, updates and parameters that are not finite."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import PyTree

from ritz.driver.callback import AbstractCallback
from ritz.driver.divergence import Divergence, Guard, examine
from ritz.driver.finite import is_finite
from ritz.driver.processes.consensus import agree
from ritz.driver.step_provider import StepProvider
from ritz.types import Loss, Row

_logger = logging.getLogger("ritz")


class FailedState(NamedTuple):
    """A state at which a run diverged, kept for inspection."""

    found: Divergence
    snapshot: PyTree
    """What `AbstractDriver.snapshot` returned; None if the state has no `parameters`."""
    went_back: bool
    """Whether the driver went back to a good state afterwards; false if there was none."""


class Guarded(StepProvider):
    """Checks each accepted step before the parameters move, see `run(on_divergence=)`."""

    doubts: frozenset[str] = frozenset()
    """Why the numbers of the present step cannot be trusted; empty where they can."""

    failed_state: FailedState | None = None
    """The state at which the last run diverged; None if it did not."""

    _told: frozenset[str] = frozenset()
    _others_reject = True
    """Whether the driver or the policy may reject a step, not only callbacks."""
    _guard = Guard()
    _good: PyTree = None
    _divergence: Divergence | None = None
    _retrying: Divergence | None = None

    @property
    def may_reject(self) -> bool:
        """Whether the driver itself may reject a step."""
        own = StepProvider._accept_step
        return getattr(self._accept_step, "__func__", self._accept_step) is not own

    @property
    def on_divergence(self) -> str:
        """The policy of the present (or last) run, see `run`."""
        return self._guard.policy

    def guard_run(self, policy: str) -> None:
        """Begin a run with a policy, one of `ritz.driver.divergence.POLICIES`."""
        self._guard = Guard(policy if self.diverges else "ignore")
        self._others_reject = self.may_reject or self._guard.policy == "retry"
        self._good = self._divergence = self.failed_state = None
        self.doubts = self._told = frozenset()

    def objections(self, said_no: Sequence[AbstractCallback]) -> list[str]:
        """Names of those that reject the attempt: callbacks, the driver, or the policy."""
        if not said_no and not self._others_reject:
            return []
        rejecting = [callback.label for callback in said_no]
        if not rejecting and not self._accept_step():
            rejecting = [type(self).__name__]
        if not rejecting and self._guard.policy == "retry" and self._goes_back():
            rejecting = ["on_divergence"]
        return rejecting

    def _goes_back(self) -> bool:
        guard: Guard = self._guard
        self._retrying = None
        found = self._examine()
        if found is None:
            guard.passed()
        elif guard.may_retry:
            self._retrying = found
        return self._retrying is not None

    def retreat(self) -> int:
        """Go back to a good state, if the attempt was rejected by the policy.

        Returns:
            How many attempts it counts for: none if the run goes back.
        """
        found, self._retrying = self._retrying, None
        if found is None:
            return 1
        self._retreat(found)
        self._guard.retry(self, found)
        return 0

    def check_finite(self) -> None:
        """Check loss and update before the parameters move; called after `before_parameter_update`.

        Raises:
            DivergedError: If loss, update or the parameters after it are not finite, unless that
                is to be ignored.
        """
        if not self._guard.watches:
            return
        found = self._examine()
        if found is not None:
            self._divergence = found
            raise self._guard.stop(self, found)

    def _examine(self) -> Divergence | None:
        """The first quantity of the present step that is not finite, or None."""
        # A driver that cannot go back may keep anything in its state.
        found = examine(self._loss_stats, self._dp if self.can_go_back else ())
        return found if agree(found is not None) else None

    def _retreat(self, found: Divergence) -> None:
        """Go back to the last good state, with fresh samples."""
        if found.quantity != "update" and self._good is not None:
            self.restore(self._good, fresh_samples=True)

    def leave_diverged(self) -> None:
        """Put the last good state into the driver; the bad one is kept in `failed_state`."""
        found, self._divergence = self._divergence, None
        if found is not None:
            good = found.quantity == "update" or self._good is not None
            snapshot = self.snapshot() if self.keeps_parameters else None
            self.failed_state = FailedState(found, snapshot, good)
            self._retreat(found)

    def probe(self) -> tuple[Loss, frozenset[str]] | None:
        """The loss at the present state and the doubts about it, as the next step would have them.

        Changes nothing; None if the driver cannot tell without taking a step.
        """
        return None

    def refuse_last(self, loss: Loss) -> None:
        """Go back by one step at the end of a run, since the loss of its last state is not finite.

        Args:
            loss: The loss that `probe` returned.
        """
        self._divergence = Divergence("loss", loss)
        reason = self._guard.stop(self, self._divergence)
        self.leave_diverged()
        self.run_state.stop(reason.reason, str(reason))

    def move(self) -> None:
        """Apply the update of the step, and undo it if the parameters are not finite afterwards.

        Raises:
            DivergedError: If the parameters are not finite afterwards.
        """
        watches = self.can_go_back and self._guard.watches and self.keeps_parameters
        if watches:
            self._good = self.snapshot()
        self.update_parameters(self._dp)
        if watches and not self._waits_for_next_loss:
            lost = not is_finite(self._variational_state.parameters)
            if agree(lost):
                self._divergence = Divergence("parameters", self._loss_stats)
                raise self._guard.stop(self, self._divergence)

    @property
    def keeps_parameters(self) -> bool:
        """Whether the driver's state has `parameters`."""
        return hasattr(self._variational_state, "parameters")

    @property
    def _waits_for_next_loss(self) -> bool:
        """Whether the next step goes back if the parameters are not finite."""
        return self._guard.may_retry and self.step_count + 1 < self.target_step

    def _mark(self, log_data: Row, doubts: Mapping[str, object]) -> None:
        """Mark a row as `suspect`; the first of each kind is also a warning.

        Args:
            log_data: The row.
            doubts: Doubt -> whether it holds, as the kernel's metric `doubts` gives it.
        """
        self.doubts = frozenset(name for name, holds in doubts.items() if holds)
        if not self.doubts:
            return
        log_data["suspect"] = ", ".join(sorted(self.doubts))
        for name in sorted(self.doubts - self._told):
            _logger.warning(
                "Step %d: %s. Such rows are marked as `suspect`.",
                self.step_count,
                self.doubt_remedies.get(name, name),
            )
        self._told |= self.doubts
