"""A driver whose steps compute nothing worth mentioning: gradient descent on a parabola."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ritz.driver import CompiledDriver, Kernel, Proposal

SIZE = 8
"""Number of parameters."""


class Carry(NamedTuple):
    """The parameters."""

    params: jax.Array


class Loss(NamedTuple):
    """A loss as Monte Carlo gives it."""

    mean: jax.Array
    error_of_mean: jax.Array
    variance: jax.Array


def loss_of(params: jax.Array) -> Loss:
    """|theta|^2, and numbers that stand for its statistics."""
    value = jnp.sum(params**2)
    return Loss(value, 0.01 * value, 0.1 * value)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class NullKernel(Kernel):
    """Gradient descent on |theta|^2."""

    def sample(self, carry: Carry) -> tuple[Carry, tuple[()]]:
        """Nothing to draw."""
        return carry, ()

    def propose(self, carry: Carry, batch: Any) -> tuple[Carry, Proposal]:
        """Loss and gradient."""
        return carry, Proposal(loss_of(carry.params), 2 * carry.params, {})

    def apply(self, carry: Carry, update: jax.Array) -> Carry:
        """A step."""
        return Carry(carry.params - 1e-4 * update)


class BareState:
    """Parameters, and what NetKet's JsonLog saves of a state."""

    def __init__(self) -> None:
        self.parameters = jnp.ones(SIZE)

    @property
    def variables(self) -> dict[str, jax.Array]:
        """The parameters, as flax has them."""
        return {"params": self.parameters}


class NullDriver(CompiledDriver):
    """The kernel on a bare state."""

    kernel = NullKernel()
    batch = None

    def __init__(self) -> None:
        super().__init__(BareState())

    @property
    def carry(self) -> Carry:
        """The parameters."""
        return Carry(self.state.parameters)

    @carry.setter
    def carry(self, carry: Carry) -> None:
        self.state.parameters = carry.params
