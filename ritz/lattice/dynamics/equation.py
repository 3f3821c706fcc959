"""The equation of motion of the time-dependent variational principle."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ritz.types import Row
from ritz.updates import Problem
from ritz.updates.gram import gram
from ritz.updates.minsr import kernel_solve
from ritz.updates.realify import double
from ritz.updates.score_map import DenseScores, ScoreMap
from ritz.updates.solvers import PseudoInverse, Solver, solve

PROPAGATIONS = {"real": -1j, "imaginary": -1.0}
"""Factor of the local energies in d log psi / dt, by the kind of time."""


class Velocity(NamedTuple):
    """Time derivative of the parameters."""

    vector: Inexact[Array, " n_parameters"]
    """As `Problem.to_vector` has parameters."""
    scores: ScoreMap
    """The scores at these parameters, whose norm is that of the quantum geometric tensor."""
    residual: Float[Array, ""]
    """r^2: what the projection onto the tangent space misses of the exact derivative of the state,
    squared, as a fraction of the variance of the energy (Carleo and Troyer, Science 355, 602
    (2017), and Schmitt and Heyl, Phys. Rev. Lett. 125, 100503 (2020))."""
    info: Row
    """What the solver logs."""


@dataclasses.dataclass(frozen=True)
class Equation:
    """S d(theta)/dt = O^+ y: least squares of O d(theta)/dt = y.

    O are the scores, S = O^+ O the quantum geometric tensor, and y = -i (E - <E>) in real and
    -(E - <E>) in imaginary time, with E the local energies. For real parameters, and in the mode
    "complex", that is McLachlan's principle: Re[S] d(theta)/dt = Im[F] in real and -Re[F] in
    imaginary time, F = <O* (E - <E>)>. In the mode "holomorphic" S d(theta)/dt = -i F or -F.
    """

    solver: Solver
    diag_shift: float
    snr: float | None
    """Signal-to-noise ratio below which forces are damped, see `damped`; None for no such
    damping."""
    sums: bool = False
    """Whether the samples are all configurations, so that forces have no noise."""

    def solve(self, problem: Problem) -> Velocity:
        """The time derivative of the parameters.

        Args:
            problem: Its losses are the local energies times the factor from `PROPAGATIONS`.
        """
        target = problem.residuals / 2
        shift = self.diag_shift * problem.damping_scale
        if self.snr is not None:
            assert isinstance(self.solver, PseudoInverse)
            rows = problem.scores()
            shares = None
            if not self.sums:
                shares = jnp.broadcast_to(problem.probabilities, problem.n_samples)
            vector = damped(rows, target, self.solver, shift, self.snr, shares)
            scores, info = DenseScores(rows), {}
        elif len(problem.to_vector(problem.params)) > len(target):
            scores = problem.score_map()
            vector, info = kernel_solve(scores, target, shift, self.solver)
        else:
            scores = DenseScores(problem.scores())
            rows = scores.rows.conj().T
            vector, info = solve(self.solver, gram(rows), rows @ target.astype(rows.dtype), shift)
        missed = jnp.sum(jnp.abs(scores.times(vector) - target) ** 2)
        whole = jnp.sum(jnp.abs(target) ** 2)
        residual = jnp.where(whole > 0, missed / jnp.where(whole > 0, whole, 1), 0)
        return Velocity(vector, scores, residual, info)


def damped(
    rows: Inexact[Array, "n_rows n_parameters"],
    target: Inexact[Array, " n_rows"],
    solver: PseudoInverse,
    shift: ArrayLike,
    snr: float,
    shares: Float[Array, " n_samples"] | None,
) -> Inexact[Array, " n_parameters"]:
    """The pseudo-inverse with forces damped that are not clearly different from their noise.

    In the eigenbasis of S, 1/s is also multiplied by 1 / (1 + (snr / SNR)^6), where SNR is the size
    of the force over its standard error (Schmitt and Heyl, Phys. Rev. Lett. 125, 100503 (2020)).

    Args:
        rows: The scores.
        target: y, see `Equation`.
        solver: The cutoffs of eigenvalues.
        shift: Is added to them.
        snr: The smallest ratio of signal to noise that counts.
        shares: Of the samples in all means, their sum being one; None for a full sum, which has no
            noise.
    """
    rows, target = double((rows, target))
    smaller = rows.shape[0] < rows.shape[1]
    values, vectors = jnp.linalg.eigh(gram(rows if smaller else rows.conj().T))
    values = jnp.maximum(values, 0)
    # The scores along each eigenvector of S.
    along = vectors * jnp.sqrt(values) if smaller else rows @ vectors
    force = along.conj().T @ target.astype(along.dtype)
    weights = solver.inverses(values + shift)
    if shares is not None:
        of_samples = along.conj() * target[:, None]
        of_samples = of_samples.reshape(-1, len(shares), len(values)).sum(axis=0)
        noise = jnp.sum(jnp.abs(of_samples - shares[:, None] * force) ** 2, axis=0)
        signal = jnp.abs(force) / jnp.sqrt(jnp.maximum(noise, jnp.finfo(noise.dtype).tiny))
        safe = jnp.maximum(signal, 1e-30)  # its sixth power is a number
        weights = weights / (1 + (snr / safe) ** 6)
    solution = weights * force
    if smaller:
        safe = jnp.where(values > 0, values, 1)
        solution = jnp.where(values > 0, solution / jnp.sqrt(safe), 0)
        return rows.conj().T @ (vectors @ solution)
    return vectors @ solution
