"""Averages of the curvature over steps, and the direction that follows from them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PyTree

from ritz.checks import check_count, check_fraction
from ritz.types import Row
from ritz.updates.base import ScalarOrSchedule, at_step, first_step
from ritz.updates.kfac.curvature import Curvature
from ritz.updates.kfac.inverse import by_cholesky, by_inverse, damped, inverted, solved
from ritz.updates.realify import double
from ritz.updates.schedules import check_schedule

Product = Callable[[PyTree], tuple[Curvature, ...]]
"""The curvature of each block from what is averaged."""


class KfacState(NamedTuple):
    """Memory of KFAC from step to step."""

    step: Array
    weight: Float[Array, ""]
    """Sum of the weights of all steps in the averages."""
    curvature: PyTree
    """Averages over steps for each block, not yet divided by `weight`, in the precision of the
    parameters; systems are solved in double."""
    inverses: tuple[Curvature, ...]
    """Inverses that several steps share; empty if each step has its own."""


@dataclasses.dataclass(frozen=True)
class Preconditioner:
    """Solves with averages of a curvature; see `ritz.updates.KFAC` for the arguments.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    diag_shift: ScalarOrSchedule
    norm_constraint: ScalarOrSchedule | None
    decay: float
    inverse_period: int

    def __post_init__(self) -> None:
        check_schedule("diag_shift", self.diag_shift, lambda x: 0 < x < math.inf, "above 0")
        if self.norm_constraint is not None:
            check_schedule("norm_constraint", self.norm_constraint, lambda c: c > 0, "above 0")
        if check_fraction("decay", self.decay) == 1:
            raise ValueError("decay must be below 1, but 1 was given.")
        check_count("inverse_period", self.inverse_period, 1)

    def init(self, zeros: PyTree, dtype: DTypeLike, product: Product = tuple) -> KfacState:
        """The state before the first step.

        Args:
            zeros: Like the curvature of a step.
            dtype: The type of real numbers.
            product: See `direction`.
        """
        weight = jnp.zeros((), jnp.dtype(dtype))
        if self.inverse_period == 1:
            return KfacState(first_step(), weight, zeros, ())
        shapes = jax.eval_shape(
            lambda means: tuple(damped(one, 0.0) for one in product(double(means))), zeros
        )
        inverses = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return KfacState(first_step(), weight, zeros, inverses)

    def direction(
        self,
        state: KfacState,
        curvature: PyTree,
        gradients: Sequence[Array],
        *,
        product: Product = tuple,
        shift_scale: ArrayLike = 1.0,
    ) -> tuple[list[Array], KfacState, Row]:
        """The direction of a step, block by block, in double precision.

        Args:
            state: From `init`, or from the last step.
            curvature: Of this step, in any form; it is what is averaged.
            gradients: Of the loss, as matrices of layers or vectors.
            product: Gives the curvature of each block from the averages.
            shift_scale: Multiplies `diag_shift`.

        Returns:
            The direction, the new state, and numbers to log.
        """
        averages = jax.tree.map(self._averaged, state.curvature, curvature)
        weight = self._averaged(state.weight, jnp.ones_like(state.weight))
        means = jax.tree.map(lambda x: double(x / weight), averages)
        shift = at_step(self.diag_shift, state.step) * shift_scale
        matrices = tuple(damped(mean, shift) for mean in product(means))
        inverses, solve = (), by_cholesky
        if self.inverse_period > 1:
            solve = by_inverse
            inverses = matrices = jax.lax.cond(
                state.step % self.inverse_period == 0,
                lambda: tuple(map(inverted, matrices)),
                lambda: state.inverses,
            )
        each = zip(matrices, gradients, strict=True)
        directions = [solved(matrix, gradient, solve) for matrix, gradient in each]
        scale, info = self._scale(state.step, directions, gradients)
        new_state = KfacState(state.step + 1, weight, averages, inverses)
        return [scale * direction for direction in directions], new_state, info

    def _averaged(self, old: Array, new: Array) -> Array:
        return self.decay * old + (1 - self.decay) * new

    def _scale(
        self, step: Array, directions: Sequence[Array], gradients: Sequence[Array]
    ) -> tuple[Array, Row]:
        """The factor by which `norm_constraint` shortens the direction."""
        if self.norm_constraint is None:
            return jnp.ones(()), {}
        both = zip(directions, gradients, strict=True)
        length = jnp.sum(jnp.stack([jnp.sum((d * g.conj()).real) for d, g in both]))
        limit = jnp.asarray(at_step(self.norm_constraint, step))
        is_long = length > limit
        scale = jnp.where(is_long, jnp.sqrt(limit / jnp.where(is_long, length, 1)), 1.0)
        return scale, {"norm_scale": scale}
