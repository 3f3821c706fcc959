"""Stochastic reconfiguration, solved in the space of the parameters."""

import dataclasses
import functools

from jaxtyping import Array, PyTree
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
from ritz.updates.gram import gram
from ritz.updates.problem import Problem
from ritz.updates.solvers import Cholesky, Solver, check_solver, solve, total_shift


@functools.partial(suggests_fields, instead=NAMED_ELSEWHERE)
@dataclasses.dataclass(frozen=True)
class SR(AbstractUpdateRule):
    """(O^+ O + lambda)^-1 O^+ e: the natural gradient (Sorella, arXiv cond-mat/9803107).

    O are the scores and e the residuals of the `Problem`. Costs n_samples n_parameters^2 +
    n_parameters^3 / 3; `MinSR` gives the same for n_samples^2 n_parameters + n_samples^3 / 3.

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
        scores = problem.scores()
        shift = at_step(self.diag_shift, state) * problem.damping_scale
        rows = scores.conj().T
        force = rows @ problem.residuals.astype(scores.dtype)
        matrix = gram(rows)
        shift = total_shift(matrix, shift, self.relative_shift)
        direction, info = solve(self.solver, matrix, force, shift)
        return cast_like(problem.to_parameters(direction), params), state + 1, info
