"""Stochastic reconfiguration in the smaller of its two spaces."""

from ritz.checks import check_count
from ritz.updates.base import ScalarOrSchedule
from ritz.updates.minsr import MinSR
from ritz.updates.solvers import Cholesky, Solver
from ritz.updates.sr import SR


def stochastic_reconfiguration(
    n_parameters: int,
    n_samples: int,
    diag_shift: ScalarOrSchedule = 1e-3,
    solver: Solver = Cholesky(),
    relative_shift: float = 1e-6,
) -> SR | MinSR:
    """`MinSR` with more parameters than samples, else `SR`: equal directions, at the lower cost.

    Args:
        n_parameters: Number of parameters, a complex one counted once.
        n_samples: Number of samples in each step.
        diag_shift: Added to the diagonal, a number or a schedule.
        solver: See `ritz.updates.solvers`.
        relative_shift: A further shift, as a fraction of the Frobenius norm of the matrix. The
            default keeps the condition within what scores in single precision can tell.

    Raises:
        ValueError: If a number is no whole one of at least 1, or `diag_shift` is below zero.
        TypeError: If `diag_shift` or `solver` is of another type.
    """
    check_count("n_parameters", n_parameters, 1)
    check_count("n_samples", n_samples, 1)
    rule = MinSR if n_parameters > n_samples else SR
    return rule(diag_shift=diag_shift, solver=solver, relative_shift=relative_shift)
