"""The update rule KFAC."""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_flag
from ritz.driver.signatures import suggests_fields
from ritz.types import Row
from ritz.updates.base import (
    NAMED_ELSEWHERE,
    AbstractUpdateRule,
    ScalarOrSchedule,
    cast_like,
    first_step,
)
from ritz.updates.kfac.blocks import KRONECKER, Blocks, blocks_of, whole_of
from ritz.updates.kfac.curvature import Curvature, curvature_and_gradient
from ritz.updates.kfac.preconditioner import KfacState, Preconditioner
from ritz.updates.problem import Problem

_logger = logging.getLogger(__name__)

SHARING = ("expand", "reduce")
"""Ways to divide the sum over uses among the two matrices of a layer."""


@functools.partial(suggests_fields, instead=NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class KFAC(AbstractUpdateRule):
    """The natural gradient, with a curvature that is block-diagonal and Kronecker-factored.

    Martens and Grosse, arXiv 1503.05671. For a linear layer of flax (Dense, DenseGeneral, Einsum,
    attention's projections, Conv; NetKet's DenseSymm and DenseEquivariant), and for calls of
    `ritz.updates.linear`, F is taken as A x G: with inputs a_r and derivatives g_r of log psi by
    outputs, at R uses r (calls, electrons, sites), A = <sum_r a_r a_r^T> / R and
    G = <sum_r g_r g_r^T>. Other parameters are in blocks with exact matrices, or with diagonals if
    they are many; `blocks` tells which. The direction is (F + lambda)^-1 O^+ e, see `SR`, which it
    equals if all parameters are in one exact block.

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
        _ = self._preconditioner  # which checks its settings
        check_flag("centred", self.centred)
        check_choice("sharing", self.sharing, SHARING)
        check_count("largest_exact", self.largest_exact, 0)

    @property
    def _preconditioner(self) -> Preconditioner:
        return Preconditioner(
            self.diag_shift, self.norm_constraint, self.decay, self.inverse_period
        )

    def blocks(self, problem: Problem) -> Blocks:
        """The block of every parameter; printed, it is a table.

        Args:
            problem: Of which log psi, the parameters and the shape of the samples are used.

        Raises:
            TypeError: If it is none, such as a driver, whose attribute `problem` is meant.
        """
        if not isinstance(problem, Problem):
            raise TypeError(
                "problem must be a ritz.updates.Problem, such as driver.problem, but "
                f"{problem!r:.80} was given."
            )
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
        number = jnp.result_type(*[leaf.real.dtype for leaf in jax.tree.leaves(params)])
        return self._preconditioner.init(zeros, number)

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
        directions, new_state, info = self._preconditioner.direction(
            state, curvature, gradients, shift_scale=problem.damping_scale
        )
        direction = whole_of(params, blocks, directions, problem.mode)
        return cast_like(direction, params), new_state, info
