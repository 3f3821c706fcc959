"""Stochastic reconfiguration, solved in the space of the samples."""

import dataclasses
import functools

from jax.typing import ArrayLike
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
    first_step,
)
from ritz.updates.problem import Problem
from ritz.updates.score_map import ScoreMap
from ritz.updates.solvers import Cholesky, Solver, check_solver, solve, total_shift


def kernel_solve(
    scores: ScoreMap,
    residuals: Inexact[Array, " n_rows"],
    shift: ArrayLike,
    solver: Solver,
    removed: Float[Array, "n_rows n_parts"] | None = None,
    relative_shift: float = 0.0,
) -> tuple[Inexact[Array, " n_parameters"], Row]:
    """O^+ (O O^+ + lambda + P)^-1 e.

    P projects onto the directions that centring has removed from O, in which its Gram matrix is
    singular, if they are given, see `Problem.removed`. It changes nothing in exact arithmetic.
    """
    matrix = scores.gram()
    shift = total_shift(matrix, shift, relative_shift)
    if removed is not None:
        matrix = matrix + removed.astype(matrix.real.dtype) @ removed.T.astype(matrix.real.dtype)
    solution, info = solve(solver, matrix, residuals, shift)
    return scores.adjoint_times(solution), info


@functools.partial(suggests_fields, instead=NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class MinSR(AbstractUpdateRule):
    """O^+ (O O^+ + lambda)^-1 e: equal to `SR`, cheaper if there are more parameters than samples.

    Chen and Heyl, arXiv 2302.01941; Rende et al., arXiv 2310.05715.

    Args:
        diag_shift: lambda, a number or a schedule.
        solver: See `ritz.updates.solvers`.
        relative_shift: A further shift, as a fraction of the Frobenius norm of the matrix, which
            bounds its condition.
    """

    diag_shift: ScalarOrSchedule = 1e-3
    solver: Solver = Cholesky()
    relative_shift: float = 0.0

    def __post_init__(self) -> None:
        check_shift(self.diag_shift)
        check_solver(self.solver)
        check_number("relative_shift", self.relative_shift, 0)

    @override
    def init(self, params: PyTree, problem: Problem) -> PyTree:
        return first_step()

    @override
    def update(
        self, state: PyTree, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Row]:
        shift = at_step(self.diag_shift, state) * problem.damping_scale
        direction, info = kernel_solve(
            problem.score_map(),
            problem.residuals,
            shift,
            self.solver,
            relative_shift=self.relative_shift,
        )
        return cast_like(problem.to_parameters(direction), params), state + 1, info
