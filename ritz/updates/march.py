"""Stochastic reconfiguration with momentum in an adaptive metric."""

import dataclasses
import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree
from typing_extensions import override

from ritz.checks import check_number
from ritz.driver.signatures import suggests_fields
from ritz.types import Row
from ritz.updates.base import (
    NAMED_ELSEWHERE,
    AbstractUpdateRule,
    ScalarOrSchedule,
    at_step,
    cast_like,
    check_shift,
    empty_vector,
    first_step,
)
from ritz.updates.minsr import kernel_solve
from ritz.updates.problem import Problem
from ritz.updates.score_map import DenseScores
from ritz.updates.solvers import Cholesky, Solver, check_solver
from ritz.updates.spring import check_momentum, with_shorter_direction


class MarchState(NamedTuple):
    """Memory of `MARCH` from step to step."""

    step: Array
    previous: Inexact[Array, " n_parameters"]
    """The direction of the last step, zero before the first."""
    variance: Float[Array, " n_parameters"]
    """The moving average of the squared changes of direction, biased towards zero."""


@functools.partial(suggests_fields, instead=NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class MARCH(AbstractUpdateRule):
    """d = mu d' + M^-1 O^+ (O M^-1 O^+ + lambda + P)^-1 (e - mu O d'), with M = sqrt(v).

    `SPRING` in a metric that holds back parameters whose direction fluctuates (Gu et al., arXiv
    2507.02644): v is the moving average of |d - d'|^2. d minimises |O d - e|^2 + lambda
    (d - mu d')^+ M (d - mu d'). The average is corrected for starting at zero, as in Adam, and
    at the first step M is one.

    Args:
        diag_shift: lambda, a number or a schedule.
        momentum: mu in [0, 1), a number or a schedule. The paper has 0.95, which fluctuates more.
        beta: The decay of the average, in [0, 1).
        epsilon: Added to sqrt(v).
        solver: See `ritz.updates.solvers`.
        relative_shift: A further shift, as a fraction of the Frobenius norm of the matrix, which
            bounds its condition.
    """

    diag_shift: ScalarOrSchedule = 1e-3
    momentum: ScalarOrSchedule = 0.9
    beta: float = 0.995
    epsilon: float = 1e-8
    solver: Solver = Cholesky()
    relative_shift: float = 0.0

    def __post_init__(self) -> None:
        check_shift(self.diag_shift)
        check_solver(self.solver)
        check_number("relative_shift", self.relative_shift, 0)
        check_momentum(self.momentum)
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), but {self.beta!r} was given.")

    @override
    def init(self, params: PyTree, problem: Problem) -> PyTree:
        empty = empty_vector(problem)
        return MarchState(first_step(), empty, empty.real)

    def metric(self, state: MarchState) -> Float[Array, " n_parameters"]:
        """The diagonal of the metric M, shape (n_columns,)."""
        debias = jnp.where(state.step > 0, 1 - self.beta**state.step, 1.0)
        return jnp.where(state.step > 0, jnp.sqrt(state.variance / debias) + self.epsilon, 1.0)

    @override
    def update(
        self, state: PyTree, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Row]:
        scores = problem.scores()
        shift = at_step(self.diag_shift, state.step) * problem.damping_scale
        kept = at_step(self.momentum, state.step) * state.previous
        root = jnp.sqrt(self.metric(state))
        change, info = kernel_solve(
            DenseScores(scores / root.astype(scores.dtype)),
            problem.residuals - scores @ kept.astype(scores.dtype),
            shift,
            self.solver,
            removed=problem.removed,
            relative_shift=self.relative_shift,
        )
        direction = (kept + change / root).astype(state.previous.dtype)
        variance = (
            self.beta * state.variance + (1 - self.beta) * jnp.abs(direction - state.previous) ** 2
        )
        new_state = MarchState(state.step + 1, direction, variance.astype(state.variance.dtype))
        return cast_like(problem.to_parameters(direction), params), new_state, info

    @override
    def shortened(self, state: PyTree, factor: Float[Array, ""]) -> PyTree:
        return with_shorter_direction(state, factor)
