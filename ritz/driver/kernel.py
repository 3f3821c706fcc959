"""One optimisation step as pure functions of a carry."""

import abc
from typing import Any, NamedTuple


class Proposal(NamedTuple):
    """Result of `Kernel.propose`; a pytree of arrays."""

    loss: Any
    """Statistics of the loss at the present parameters."""
    update: Any
    """The update, in the form that `Kernel.apply` takes."""
    metrics: dict[str, Any]
    """Further numbers for the step's row, by name. Under `doubts`, name -> whether: reasons not to
    trust the numbers of the step, which become the mark `suspect` of its row."""


class Kernel(abc.ABC):
    """A step of an optimisation, free of side effects.

    The carry is a pytree of arrays with all that the next step needs: parameters, optimiser
    state, sampler state, random key. Its structure, shapes and types never change, and the
    parameters are its attribute `params`, where callbacks find them. Kernels are
    pytrees too: arrays that do not change, such as an operator's, are their leaves, and the rest
    is static and hashable, so that two drivers with equal kernels share one compiled program.
    """

    @abc.abstractmethod
    def sample(self, carry: Any) -> tuple[Any, Any]:
        """Draw samples, or a minibatch: `carry -> (carry, batch)`."""

    @abc.abstractmethod
    def propose(self, carry: Any, batch: Any) -> tuple[Any, Proposal]:
        """Compute loss and update: `(carry, batch) -> (carry, proposal)`; moves no parameter."""

    @abc.abstractmethod
    def apply(self, carry: Any, update: Any) -> Any:
        """Move the parameters and count the step: `(carry, update) -> carry`."""

    def pauses(self, carry: Any) -> Any:
        """Whether the driver must look at the carry before the next step, see `attend`.

        A block ends after a step for which this is true, so that the result does not depend on
        how the steps are divided into blocks.
        """
        return False

    def trial(self, carry: Any, batch: Any, update: Any) -> Any:
        """The loss that `batch` gives after `update`.

        A kernel whose samples depend on the parameters overrides this to reweight them.
        """
        _, proposal = self.propose(self.apply(carry, update), batch)
        return proposal.loss
