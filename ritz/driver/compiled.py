"""A driver made from a kernel."""

import abc
from typing import Any

import jax

from ritz.driver.abstract import AbstractDriver
from ritz.driver.kernel import Kernel


@jax.jit
def _sample(kernel: Kernel, carry: Any) -> Any:
    return kernel.sample(carry)


@jax.jit
def _propose(kernel: Kernel, carry: Any, batch: Any) -> Any:
    return kernel.propose(carry, batch)


@jax.jit
def _apply(kernel: Kernel, carry: Any, update: Any) -> Any:
    return kernel.apply(carry, update)


@jax.jit
def _trial(kernel: Kernel, carry: Any, batch: Any, update: Any) -> Any:
    return kernel.trial(carry, batch, update)


class CompiledDriver(AbstractDriver):
    """Implements the three methods of a step from a `Kernel`, each phase one compiled program.

    A subclass says where kernel, carry and batch live. Between the phases everything is in the
    driver's state, where live callbacks may read it and put something else.
    """

    @property
    @abc.abstractmethod
    def kernel(self) -> Kernel:
        """The kernel, with the present settings of the driver's state."""

    @property
    @abc.abstractmethod
    def carry(self) -> Any:
        """What the next step needs, read from the driver and its state; may be set."""

    @carry.setter
    @abc.abstractmethod
    def carry(self, carry: Any) -> None: ...

    @property
    @abc.abstractmethod
    def batch(self) -> Any:
        """The samples of this step, or None if none were drawn since `reset_step`."""

    @batch.setter
    @abc.abstractmethod
    def batch(self, batch: Any) -> None: ...

    _metrics: dict[str, Any]

    def reset_step(self) -> None:
        """Forget the samples, so that the next access draws fresh ones."""
        self.batch = None

    def compute_loss_and_update(self) -> tuple[Any, Any]:
        """Draw samples unless there are some, and compute loss and update from them.

        Loss and metrics come to the host in one transfer; the update stays on the device.
        """
        kernel, carry, batch = self.kernel, self.carry, self.batch
        if batch is None:
            carry, batch = _sample(kernel, carry)
        self.carry, proposal = _propose(kernel, carry, batch)
        self.batch = batch
        loss, self._metrics = jax.device_get((proposal.loss, proposal.metrics))
        return loss, proposal.update

    def update_parameters(self, update: Any) -> None:
        """Apply `update` through the kernel."""
        self.carry = _apply(self.kernel, self.carry, update)

    def trial_loss(self, update: Any) -> Any:
        """The loss after `update`, on this step's samples, reweighted where they depend on it."""
        if self.batch is None:
            raise RuntimeError(
                "trial_loss needs the samples of a step; call it in on_compute_update_end or "
                "before_parameter_update."
            )
        return jax.device_get(_trial(self.kernel, self.carry, self.batch, update))

    def _log_additional_data(self, log_data: dict[str, Any]) -> None:
        log_data.update(self._metrics)
