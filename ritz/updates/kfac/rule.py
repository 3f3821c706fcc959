"""The update rule KFAC."""

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_flag, check_fraction
from ritz.driver.signatures import suggests_fields
from ritz.types import Row
from ritz.updates.base import (
    NAMED_ELSEWHERE,
    AbstractUpdateRule,
    ScalarOrSchedule,
    at_step,
    cast_like,
    first_step,
)
from ritz.updates.kfac.blocks import KRONECKER, Blocks, blocks_of, leaves_of
from ritz.updates.kfac.curvature import Curvature, curvature_and_gradient
from ritz.updates.kfac.inverse import by_cholesky, by_inverse, damped, inverted, solved
from ritz.updates.problem import Problem
from ritz.updates.realify import double, realify
from ritz.updates.schedules import check_schedule

_logger = logging.getLogger(__name__)

SHARING = ("expand", "reduce")


class KfacState(NamedTuple):
    """Memory of `KFAC` from step to step."""

    step: Array
    weight: Float[Array, ""]
    """Sum of the weights of all steps in the averages."""
    curvature: tuple[Curvature, ...]
    """Averages over steps for each block, not yet divided by `weight`, in the precision of the
    parameters; systems are solved in double."""
    inverses: tuple[Curvature, ...]
    """Inverses that several steps share; empty if each step has its own."""


@functools.partial(suggests_fields, instead=NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class KFAC(AbstractUpdateRule):
    """The natural gradient, with a curvature that is block-diagonal and Kronecker-factored.

    Martens and Grosse, arXiv 1503.05671. For a linear layer of flax (Dense, DenseGeneral, Einsum,
    attention's projections, Conv; NetKet's DenseSymm and DenseEquivariant), F is taken as A x G:
    with inputs a_r and derivatives g_r of log psi by outputs, at R uses r (calls, electrons,
    sites), A = <sum_r a_r a_r^T> / R and G = <sum_r g_r g_r^T>. Other parameters are in blocks
    with exact matrices, or with diagonals if they are many; `blocks` tells which. The direction is
    (F + lambda)^-1 O^+ e, see `SR`, which it equals if all parameters are in one exact block.

    FermiNet and its followers have gradients of half and curvatures of twice the size: their
    damping is to be divided by two, and their learning rate by four.

    Args:
        diag_shift: lambda above 0, a number or a schedule, shared out over A and G by the ratio of
            their traces.
        norm_constraint: The largest squared length d^T (F + lambda) d of the direction, a number, a
            schedule or None. With 1, the change of log psi in a step has a standard deviation of
            at most the rate of the optimiser. FermiNet's limit is 5e-4 / rate^2 here.
        decay: Weight in [0, 1) of older steps in averages of the curvature.
        inverse_period: Number of steps that share inverses.
        centred: Whether derivatives of log psi count from their mean over samples, as in `SR`; from
            A x G the product of the means of a and g is taken away. Without it, as in FermiNet,
            the factor of log psi that normalisation takes away is counted too.
        sharing: "expand", as above, or "reduce": inputs are averaged and derivatives added up over
            uses first (Eschenhagen et al., arXiv 2311.00636).
        largest_exact: Largest number of parameters in an exact block; single arrays with more have
            diagonals.
    """

    diag_shift: ScalarOrSchedule = 1e-3
    norm_constraint: ScalarOrSchedule | None = 1.0
    decay: float = 0.95
    inverse_period: int = 1
    centred: bool = True
    sharing: str = "expand"
    largest_exact: int = 1000

    def __post_init__(self) -> None:
        allowed = "above 0"
        check_schedule("diag_shift", self.diag_shift, lambda x: 0 < x < math.inf, allowed)
        if self.norm_constraint is not None:
            check_schedule("norm_constraint", self.norm_constraint, lambda c: c > 0, "above 0")
        if check_fraction("decay", self.decay) == 1:
            raise ValueError("decay must be below 1, but 1 was given.")
        check_count("inverse_period", self.inverse_period, 1)
        check_flag("centred", self.centred)
        check_choice("sharing", self.sharing, SHARING)
        check_count("largest_exact", self.largest_exact, 0)

    def blocks(self, problem: Problem) -> Blocks:
        """The block of every parameter; printed, it is a table.

        Args:
            problem: Of which log psi, the parameters and the shape of the samples are used.
        """
        return blocks_of(problem, self.largest_exact)

    @override
    def init(self, params: PyTree, problem: Problem) -> PyTree:
        blocks = self.blocks(problem)
        _logger.info("KFAC has %s", blocks)
        if len(blocks) and not blocks.size(KRONECKER):
            _logger.warning(
                "KFAC found no linear layers of flax in this model, and has %s. A curvature in one "
                "exact block is that of SR, which costs the same.", blocks.summary,
            )  # fmt: skip
        if not len(blocks):
            return KfacState(first_step(), jnp.zeros(()), (), ())
        samples = problem.samples
        n_samples = len(jax.tree.leaves(samples)[0])
        losses = jax.ShapeDtypeStruct((n_samples,), problem.losses.dtype)

        def curvature(samples: PyTree, losses: Array) -> tuple[Curvature, ...]:
            shaped = dataclasses.replace(
                problem, params=params, samples=samples, losses=losses, weights=None
            )
            return self._curvature(shaped, blocks)[0]

        shapes = jax.eval_shape(curvature, samples, losses)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        matrices = jax.tree.map(jnp.zeros_like, tuple(damped(double(one), 0.0) for one in zeros))
        inverses = matrices if self.inverse_period > 1 else ()
        number = jnp.result_type(*[leaf.real.dtype for leaf in jax.tree.leaves(params)])
        return KfacState(first_step(), jnp.zeros((), number), zeros, inverses)

    def _curvature(
        self, problem: Problem, blocks: Blocks
    ) -> tuple[tuple[Curvature, ...], tuple[Array, ...]]:
        return curvature_and_gradient(problem, blocks, centred=self.centred, sharing=self.sharing)

    @override
    def update(
        self, state: KfacState, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Row]:
        blocks = self.blocks(problem)
        if not len(blocks):
            return params, state._replace(step=state.step + 1), {}
        curvature, gradients = self._curvature(problem, blocks)
        averages = jax.tree.map(self._averaged, state.curvature, curvature)
        weight = self._averaged(state.weight, jnp.ones_like(state.weight))
        means = jax.tree.map(lambda x: double(x / weight), averages)
        shift = at_step(self.diag_shift, state.step) * problem.damping_scale
        matrices = tuple(damped(mean, shift) for mean in means)
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
        direction = self._tree(params, problem.mode, blocks, [scale * d for d in directions])
        new_state = KfacState(state.step + 1, weight, averages, inverses)
        return cast_like(direction, params), new_state, info

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

    def _tree(
        self, params: PyTree, mode: str, blocks: Blocks, directions: Sequence[Array]
    ) -> PyTree:
        """The directions of all blocks as a tree like the parameters."""
        leaves, structure = jax.tree.flatten(params)
        for block, direction in zip(blocks, directions, strict=True):
            if block.layer is not None:
                block.layer.put(leaves, direction)
                continue
            members = leaves_of(params, block.places)
            form = realify(members, mode)
            number = jax.eval_shape(form.flatten, members).dtype
            for place, leaf in zip(
                block.places, form.restore(direction.astype(number)), strict=True
            ):
                leaves[place] = leaf
        return jax.tree.unflatten(structure, leaves)
