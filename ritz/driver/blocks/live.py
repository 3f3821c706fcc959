"""Live steps: one at a time, so that callbacks may look at and change everything between phases."""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from ritz.driver.blocks.block import barrier
from ritz.driver.blocks.traced import Held, Observers
from ritz.driver.blocks.transfers import Packed
from ritz.driver.finite import all_finite
from ritz.driver.kernel import Kernel
from ritz.full_precision import in_full_precision


class Outcome(NamedTuple):
    """Carry after an update, and whether it is finite."""

    carry: PyTree
    held: Held
    """Carries of the callbacks' traced parts after the step."""
    finite: bool
    """Whether the parameters are finite."""


class Attempt:
    """One attempt at a live step, computed by one program, with its update applied in advance.

    What was computed in advance counts if no callback changes anything until the update.

    Args:
        kernel: The kernel.
        observers: The traced parts of callbacks.
        carry: The carry before the step.
        held: What the traced parts carry.
        step: The step.
        batch: Samples that are to be used; None draws some.
    """

    def __init__(
        self,
        kernel: Kernel,
        observers: Observers,
        carry: PyTree,
        held: Held,
        step: int,
        batch: PyTree,
    ):
        self.before = carry
        self._kernel, self._observers = kernel, observers
        number = np.int32(step) if observers.parts else None
        arguments = (kernel, observers, carry, held, number)
        result = draw_and_step(*arguments) if batch is None else step_with(*arguments, batch)
        self.carry, self.batch, self.update, self._row, self.held, self._next, packed = result
        """`carry` and `held` are those before the update."""
        self.loss, self.metrics, self.loss_is_finite, self._finite = packed.to_host()

    def outcome(self, kernel: Kernel, carry: PyTree, update: PyTree) -> Outcome:
        """The state after an update.

        Args:
            kernel: The kernel, maybe with settings that a callback has changed.
            carry: The carry before the update.
            update: The update.
        """
        if update is self.update and _same(carry, self.carry) and _same(kernel, self._kernel):
            carry, held = self._next
            return Outcome(carry, held, self._finite)
        after, finite = apply(kernel, carry, update)
        held = self.held
        if self._observers.sees("on_step_end"):
            held = observe(self._observers, "on_step_end", held, after, self._row)
        return Outcome(after, held, bool(finite))


def _same(tree: PyTree, other: PyTree) -> bool:
    """Whether two trees hold identical array objects and equal numbers."""
    if tree is other:
        return True
    named = isinstance(tree, tuple) and type(tree) is type(other) and len(tree) == len(other)
    if named and all(map(operator.is_, tree, other)):
        return True
    leaves, structure = jax.tree.flatten(tree)
    other_leaves, other_structure = jax.tree.flatten(other)
    return structure == other_structure and all(
        leaf is its or (isinstance(leaf, int | float | complex) and leaf == its)
        for leaf, its in zip(leaves, other_leaves, strict=True)
    )


@in_full_precision
def _attempt(
    kernel: Kernel,
    observers: Observers,
    carry: PyTree,
    held: Held,
    step: ArrayLike | None,
    batch: PyTree,
) -> PyTree:
    carry, proposal = barrier(kernel.propose(carry, batch))
    metrics = observers.metrics(carry, proposal)
    row = observers.row(step, proposal.loss, metrics) if observers.parts else {}
    held = observers.observe("before_parameter_update", held, carry, row)
    after = barrier(kernel.apply(carry, proposal.update))
    held_after = observers.observe("on_step_end", held, after, row)
    finite = proposal.loss_is_valid, all_finite(after.params)
    packed = Packed.pack((proposal.loss, metrics, *finite))
    return carry, batch, proposal.update, row, held, (after, held_after), packed


@functools.partial(jax.jit, static_argnums=1)
@in_full_precision
def draw_and_step(
    kernel: Kernel, observers: Observers, carry: PyTree, held: Held, step: ArrayLike | None
) -> PyTree:
    """A step with fresh samples, see `Attempt`."""
    carry, batch = barrier(kernel.sample(carry))
    return _attempt(kernel, observers, carry, held, step=step, batch=batch)


step_with = jax.jit(_attempt, static_argnums=1)
"""A step with given samples, see `Attempt`."""


@jax.jit
@in_full_precision
def apply(kernel: Kernel, carry: PyTree, update: PyTree) -> PyTree:
    """The carry after the update, and whether its parameters are finite."""
    carry = barrier(kernel.apply(carry, update))
    return carry, all_finite(carry.params)


@jax.jit
@in_full_precision
def trial(kernel: Kernel, carry: PyTree, batch: PyTree, update: PyTree) -> PyTree:
    """The loss after the update, which is not applied."""
    return kernel.trial(carry, batch, update)


observe = jax.jit(Observers.observe, static_argnums=(0, 1))
"""Carries of the callbacks' traced parts after a hook."""


def is_key(leaf: object) -> bool:
    """Whether a leaf of a carry is a random key."""
    return jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key)
