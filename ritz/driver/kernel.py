"""One optimisation step as pure functions of a carry."""

import abc
from typing import NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from ritz.driver.finite import all_finite, loss_parts
from ritz.types import Loss, Row

TAKEN_BACK = "taken_back"
"""The doubt of a step which goes back to an earlier state."""


class Proposal(NamedTuple):
    """Result of `Kernel.propose`; a pytree of arrays."""

    loss: Loss
    """Statistics of the loss at the present parameters."""
    update: PyTree
    """The update, in the form that `Kernel.apply` takes."""
    metrics: Row
    """Further numbers for the step's row, by name. Under `doubts`, name -> whether: reasons not to
    trust the numbers of the step, which become the mark `suspect` of its row. The doubt
    `taken_back` says that the update goes back to an earlier state: the loss of the step may be
    anything then, and is no divergence."""

    @property
    def loss_is_valid(self) -> Array:
        """Whether the loss is finite, or the kernel itself goes back from it."""
        taken_back = self.metrics.get("doubts", {}).get(TAKEN_BACK, False)
        return all_finite(loss_parts(self.loss)) | taken_back


class Kernel(abc.ABC):
    """A step of an optimisation, free of side effects.

    The carry is a pytree of arrays with all that the next step needs: parameters, optimiser
    state, sampler state, random key. Its structure, shapes and types never change, and the
    parameters are its attribute `params`, where callbacks find them. Kernels are
    pytrees too: arrays that do not change, such as an operator's, are their leaves, and the rest
    is static and hashable, so that two drivers with equal kernels share one compiled program.
    """

    @abc.abstractmethod
    def sample(self, carry: PyTree) -> tuple[PyTree, PyTree]:
        """Draw samples, or a minibatch: `carry -> (carry, batch)`."""

    @abc.abstractmethod
    def propose(self, carry: PyTree, batch: PyTree) -> tuple[PyTree, Proposal]:
        """Compute loss and update: `(carry, batch) -> (carry, proposal)`; moves no parameter."""

    @abc.abstractmethod
    def apply(self, carry: PyTree, update: PyTree) -> PyTree:
        """Move the parameters and count the step: `(carry, update) -> carry`."""

    def pauses(self, carry: PyTree) -> ArrayLike:
        """Whether the driver must look at the carry before the next step, see `attend`.

        A block ends after a step for which this is true, so that the result does not depend on
        how the steps are divided into blocks.
        """
        return False

    def trial(self, carry: PyTree, batch: PyTree, update: PyTree) -> Loss:
        """The loss that `batch` gives after `update`.

        A kernel whose samples depend on the parameters overrides this to reweight them.
        """
        _, proposal = self.propose(self.apply(carry, update), batch)
        return proposal.loss
