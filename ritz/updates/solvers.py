"""Solvers for the linear systems of update rules: (matrix, right-hand side) -> solution.

The matrices are real symmetric or complex Hermitian, and positive up to rounding.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ritz.driver.signatures import suggests_fields
from ritz.types import Row
from ritz.updates.realify import double

Matrix = Inexact[Array, "n n"]
Vector = Inexact[Array, "n *columns"]
Solver = Callable[[Matrix, Vector], Vector | tuple[Vector, dict[str, Array]]]
"""`(matrix, rhs) -> solution`, or `-> (solution, {name: number})` to have numbers logged."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class PseudoInverse:
    """Inverts by eigenvalues, damping smoothly those below a fraction of the largest.

    1/s becomes 1 / (s (1 + (rtol_smooth s_max / s)^6)), and zero below `rtol` s_max (Medvidovic
    and Sels, PRX Quantum 4, 040302 (2023), eq. 9).

    Args:
        rtol: Eigenvalues below this fraction of the largest are dropped.
        rtol_smooth: The fraction at which damping sets in.
    """

    rtol: float = 1e-14
    rtol_smooth: float = 1e-14

    def inverses(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        """What the inverse has in the place of the eigenvalues, shape (n,)."""
        largest = jnp.max(jnp.abs(values))
        keep = jnp.abs(values) > self.rtol * largest
        safe = jnp.asarray(jnp.where(keep, values, 1))
        damping = 1 + (self.rtol_smooth * largest / jnp.abs(safe)) ** 6
        return jnp.asarray(jnp.where(keep, 1 / (safe * damping), 0))

    def __call__(self, matrix: Matrix, rhs: Vector) -> tuple[Vector, dict[str, Array]]:
        """Solve `matrix` @ x = `rhs`; returns x, as `rhs`, and the numbers to log."""
        values, vectors = jnp.linalg.eigh(matrix)
        inverse = self.inverses(values)
        scaled = (inverse * (vectors.conj().T @ rhs).T).T
        return vectors @ scaled, {}


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Cholesky:
    """Factorises the matrix; if the result is not finite, the fallback solves instead.

    Logs `solver_fallback`: whether the fallback was used.

    Args:
        fallback: A solver, or None for none.
    """

    fallback: PseudoInverse | None = PseudoInverse()

    def __call__(self, matrix: Matrix, rhs: Vector) -> tuple[Vector, dict[str, Array]]:
        """Solve `matrix` @ x = `rhs`; returns x, as `rhs`, and the numbers to log."""
        factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
        solution = jax.scipy.linalg.cho_solve(factor, rhs)
        if self.fallback is None:
            return solution, {}
        failed = ~jnp.all(jnp.isfinite(solution))
        fallback = self.fallback
        operands = matrix, rhs, solution
        solution = jax.lax.cond(
            failed, lambda m, b, _: fallback(m, b)[0], lambda _m, _b, x: x, *operands
        )
        return solution, {"solver_fallback": failed}


@suggests_fields
@dataclasses.dataclass(frozen=True)
class CG:
    """Conjugate gradients (Hestenes and Stiefel 1952), from zero.

    Args:
        tol: Relative residual at which it stops.
        maxiter: Largest number of iterations; None for ten times the size.
    """

    tol: float = 1e-10
    maxiter: int | None = None

    def __call__(self, matrix: Matrix, rhs: Vector) -> tuple[Vector, dict[str, Array]]:
        """Solve `matrix` @ x = `rhs`; returns x, shape (n,), and the numbers to log."""
        solution, _ = jax.scipy.sparse.linalg.cg(matrix, rhs, tol=self.tol, maxiter=self.maxiter)
        residual = jnp.linalg.norm(matrix @ solution - rhs) / jnp.linalg.norm(rhs)
        return solution, {"solver_residual": residual}


def check_solver(solver: object) -> None:
    """Refuse objects that cannot be called as a solver.

    Raises:
        TypeError: With what is needed.
    """
    if isinstance(solver, type) or not callable(solver):
        shown = f"the class {solver.__name__}" if isinstance(solver, type) else repr(solver)
        raise TypeError(
            "solver must be a function (matrix, rhs) -> solution, such as Cholesky() or CG(), but "
            f"{shown} was given."
        )


def solve(
    solver: Solver, matrix: Matrix, rhs: Vector, shift: ArrayLike = 0.0
) -> tuple[Vector, Row]:
    """Call a solver of either form on `matrix` + `shift` times the identity.

    In double precision, where JAX is set to allow it, whatever the matrix was computed in: the
    shift is often too small for single precision.
    """
    matrix, rhs = double((matrix, rhs))
    shifted = matrix + shift * jnp.eye(len(matrix), dtype=matrix.dtype)
    answer = solver(shifted, rhs.astype(matrix.dtype))
    return answer if isinstance(answer, tuple) else (answer, {})


def total_shift(matrix: Matrix, shift: ArrayLike, relative_shift: float) -> ArrayLike:
    """`shift` + `relative_shift` |matrix|, with the Frobenius norm.

    The norm is the same for products of the scores in the space of parameters and in that of
    samples, whose eigenvalues are the same. The condition is then at most about
    1 / `relative_shift`.
    """
    return shift + relative_shift * jnp.linalg.norm(matrix) if relative_shift else shift
