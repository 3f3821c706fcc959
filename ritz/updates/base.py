"""The contract of update rules."""

import abc
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ritz.types import Row
from ritz.updates.problem import Problem
from ritz.updates.schedules import ScalarOrSchedule as ScalarOrSchedule
from ritz.updates.schedules import at_step as at_step
from ritz.updates.schedules import check_schedule

_RATE = "give the learning rate to the driver, as its optimizer."
NAMED_ELSEWHERE = {
    "damping": "the damping is called diag_shift here.",
    "learning_rate": _RATE,
    "lr": _RATE,
}
"""Arguments that rules have in other programs -> what to write here, for messages."""


class AbstractUpdateRule(abc.ABC):
    """Turns a `Problem` into the direction in which the parameters move.

    Rules are hashable and hold settings only; their memory is in a state, a pytree whose
    structure, shapes and types never change. The direction is what an optimiser such as
    `optax.sgd` subtracts, times its learning rate.
    """

    @abc.abstractmethod
    def init(self, params: PyTree, problem: Problem) -> PyTree:
        """The state before the first step.

        Args:
            params: The initial parameters.
            problem: Of which log psi, parameters, mode and the shape of samples may be used, but
                neither samples nor losses.
        """

    @abc.abstractmethod
    def update(
        self, state: PyTree, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Row]:
        """The direction of one step, a pure function of JAX.

        Args:
            state: From `init` or from the last step.
            problem: Samples, local losses and derivatives of the step.
            params: The present parameters.
            key: A random key for this step.

        Returns:
            The direction, a tree like `params`; the new state; numbers to log, by name.
        """

    def shortened(self, state: PyTree, factor: Float[Array, ""]) -> PyTree:
        """The state from `update` once it is known that the step was shorter, see `StepControl`.

        Rules whose memory has the last direction scale it; others keep their state.

        Args:
            state: The state.
            factor: The length of the step over that of the direction, at most 1.
        """
        return state


def first_step() -> Array:
    """The step counter of a rule's state."""
    return jnp.zeros((), jnp.int32)


def empty_vector(problem: Problem) -> Array:
    """A vector of zeros, one for each column of the scores."""
    return jnp.zeros_like(problem.to_vector(problem.params))


def check_shift(value: ScalarOrSchedule) -> None:
    """Refuse a diagonal shift that is not finite and at least 0, see `check_schedule`."""
    check_schedule("diag_shift", value, lambda shift: 0 <= shift < math.inf, "at least 0")


def cast_like(direction: PyTree, params: PyTree) -> PyTree:
    """`direction` in the types of `params`."""
    return jax.tree.map(lambda d, p: d.astype(p.dtype), direction, params)
