"""A step in time as pure functions: sample, propose, apply."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.lattice.doubts import Watch
from ritz.lattice.dynamics.equation import Equation, Velocity
from ritz.lattice.dynamics.step_size import StepSize
from ritz.lattice.dynamics.tableau import Tableau
from ritz.lattice.kernels.kernel import LatticeKernel
from ritz.types import Row
from ritz.updates import Problem

ROUNDING = 1e-9
"""A step that would leave less than this fraction of itself goes to the end, and stops may miss the
ends of a run by this fraction."""

STOPS = 64
"""The number of times of stops is rounded up to a multiple of this one."""

REMEDIES = {
    "tolerance": "the error of the step is above the tolerance, although the step is the smallest "
    "allowed, or the last of those tried; give a smaller bound in dt_limits, more samples, or a "
    "larger rtol",
}


class Clock(NamedTuple):
    """Time, and what the next step size follows from."""

    t: Float[Array, ""]
    dt: Float[Array, ""]
    """Size of the next step, unless time ends before."""
    began: Float[Array, ""]
    """Time at which the run began."""
    error: Float[Array, ""]
    """Error of the last step in units of the tolerance."""


class TDVPCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    model_state: PyTree
    sampler_state: PyTree
    """NetKet's sampler state with its random key; None for a full sum."""
    clock: Clock
    following: Clock
    """The clock after the step that was proposed last."""
    rate_scale: Float[Array, ""]
    """Multiplies the step size."""
    watch: Watch
    """Data by which the next step is judged."""


class Stage(NamedTuple):
    """What is known at some parameters."""

    stats: nk.stats.Stats
    energies: Inexact[Array, " n_samples"]
    problem: Problem
    velocity: Velocity


class Trial(NamedTuple):
    """The last step size tried."""

    accepted: Bool[Array, ""]
    n_trials: Int[Array, ""]
    next: Float[Array, ""]
    """The step size to be tried next."""
    taken: Float[Array, ""]
    """The step size that was tried; zero before the first."""
    change: Inexact[Array, " n_parameters"]
    error: Float[Array, ""]
    """Norm of the estimated error."""
    ratio: Float[Array, ""]
    """The error in units of the tolerance."""
    sampler_state: PyTree


@dataclasses.dataclass(frozen=True)
class TDVPSettings:
    """Static settings of a compiled step; hashable."""

    tableau: Tableau
    equation: Equation
    step_size: StepSize
    factor: complex
    """Factor of the local energies, from `PROPAGATIONS`."""
    mode: str
    chunk_size_bwd: int | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TDVPKernel(Kernel):
    """TDVP = sampling + local energies + the projected equation of motion + a Runge-Kutta step.

    Each stage of a step draws its own samples; the first stage uses those of the row.
    """

    inner: LatticeKernel
    """Draws the samples, and estimates energy and observables."""
    duration: Float[Array, ""]
    """Time that the run takes."""
    stops: Float[Array, " n_stops"]
    """Times at which steps end, from `checked_stops`."""
    settings: TDVPSettings = dataclasses.field(metadata={"static": True})

    def _end(self, carry: TDVPCarry) -> Float[Array, ""]:
        return carry.clock.began + self.duration

    @override
    def pauses(self, carry: TDVPCarry) -> Bool[Array, ""]:
        return carry.clock.t >= self._end(carry)

    @override
    def sample(self, carry: TDVPCarry) -> tuple[TDVPCarry, PyTree]:
        return self.inner.sample(carry)

    def _stage(self, carry: TDVPCarry, batch: PyTree) -> Stage:
        s = self.settings
        stats, samples, energies, probabilities = self.inner.evaluate(carry, batch)
        problem = Problem(
            log_psi=self.inner.log_psi(carry),
            params=carry.params,
            samples=samples,
            losses=s.factor * energies,
            weights=probabilities,
            mode=s.mode,
            chunk_size=s.chunk_size_bwd,
        )
        return Stage(stats, energies, problem, s.equation.solve(problem))

    def _slopes(self, carry: TDVPCarry, first: Stage, step: Array) -> tuple[Array, PyTree]:
        """The slopes of all stages, and the sampler's state afterwards."""
        problem = first.problem

        def slope(change: Array, _: Array, sampler_state: PyTree) -> tuple[Array, PyTree]:
            params = moved(carry.params, problem.to_parameters(change))
            there = carry._replace(params=params, sampler_state=sampler_state)
            there, batch = self.inner.sample(there)
            return self._stage(there, batch).velocity.vector, there.sampler_state

        tableau = self.settings.tableau
        return tableau.slopes(slope, first.velocity.vector, step, carry.sampler_state)

    def _errors(self, first: Stage, slopes: Array, step: Array) -> tuple[Array, Array]:
        """Norm of the estimated error, and the error in units of the tolerance."""
        tableau, size = self.settings.tableau, self.settings.step_size
        if not tableau.embedded:
            return jnp.zeros(()), jnp.zeros(())
        error = tableau.error(slopes, step)
        if size.norm == "qgt":
            norm, whole = jnp.linalg.norm(first.velocity.scores.times(error)), 1.0
        else:
            norm = jnp.linalg.norm(error)
            whole = jnp.linalg.norm(first.problem.to_vector(first.problem.params))
        norm = norm.astype(float)
        ratio = norm / size.tolerance(whole) if size.adaptive else jnp.zeros(())
        return norm, ratio

    def _try(self, carry: TDVPCarry, first: Stage, trial: Trial) -> Trial:
        tableau, size = self.settings.tableau, self.settings.step_size
        step = trial.next
        own = carry._replace(sampler_state=trial.sampler_state)
        slopes, sampler_state = self._slopes(own, first, step)
        change = tableau.change(slopes, step)
        error, ratio = self._errors(first, slopes, step)
        following, accepted = step, jnp.ones((), bool)
        if size.adaptive:
            finite = jnp.isfinite(ratio) & jnp.all(jnp.isfinite(change))
            judged = jnp.where(finite, ratio, jnp.inf)
            following = jnp.maximum(step * size.retried(judged, tableau.error_order), size.least)
            accepted = (judged <= 1) | (step <= size.least * (1 + ROUNDING))
        return Trial(
            accepted=accepted,
            n_trials=trial.n_trials + 1,
            next=following,
            taken=step,
            change=change,
            error=error,
            ratio=ratio,
            sampler_state=sampler_state,
        )

    def _next_stop(self, carry: TDVPCarry) -> Float[Array, ""]:
        """Time of the next stop, or the end of the run."""
        t, end = carry.clock.t, self._end(carry)
        later = self.stops > t + ROUNDING * carry.clock.dt
        return jnp.min(jnp.where(later, self.stops, end), initial=end)

    def _wanted(self, carry: TDVPCarry) -> Float[Array, ""]:
        """Size of the next step, unless a stop is nearer."""
        return self.settings.step_size.bounded(carry.clock.dt * carry.rate_scale)

    def _clock_after(self, carry: TDVPCarry, trial: Trial, stop: Array) -> Clock:
        """Time after the step, and the size of the one that follows."""
        clock, size, tableau = carry.clock, self.settings.step_size, self.settings.tableau
        lands = trial.taken >= stop - clock.t
        t = jnp.where(lands, stop, clock.t + trial.taken)
        dt, error = clock.dt, trial.ratio
        if size.adaptive:
            ratio = size.grown(trial.ratio, clock.error, tableau.error_order)
            ratio = jnp.where(trial.n_trials > 1, jnp.minimum(ratio, 1), ratio)
            dt = ratio * trial.taken
            # A step that was cut short says nothing against longer ones, nor for them.
            cut = (trial.n_trials == 1) & (trial.taken < self._wanted(carry))
            dt = size.bounded(jnp.where(cut, jnp.maximum(dt, clock.dt), dt))
            error = jnp.where(cut, clock.error, error)
        moves = trial.taken > 0
        return Clock(
            t=jnp.where(moves, t, clock.t),
            dt=jnp.where(moves, dt, clock.dt),
            began=clock.began,
            error=jnp.where(moves, error, clock.error),
        )

    def _step(self, carry: TDVPCarry, first: Stage) -> tuple[Trial, Clock]:
        size = self.settings.step_size
        stop = self._next_stop(carry)
        remaining = stop - carry.clock.t
        wanted = self._wanted(carry)
        zero = jnp.zeros_like(wanted)
        begin = Trial(
            accepted=remaining <= 0,
            n_trials=jnp.zeros((), int),
            next=jnp.where(wanted * (1 + ROUNDING) >= remaining, remaining, wanted),
            taken=zero,
            change=jnp.zeros_like(first.velocity.vector),
            error=zero,
            ratio=zero,
            sampler_state=carry.sampler_state,
        )

        def goes_on(trial: Trial) -> Array:
            return ~trial.accepted & (trial.n_trials < size.max_trials)

        trial = jax.lax.while_loop(goes_on, lambda trial: self._try(carry, first, trial), begin)
        return trial, self._clock_after(carry, trial, stop)

    @override
    def propose(self, carry: TDVPCarry, batch: PyTree) -> tuple[TDVPCarry, Proposal]:
        size = self.settings.step_size
        first = self._stage(carry, batch)
        observed = self.inner.observe(carry, batch, first.energies)
        carry, metrics = self.inner.metrics(carry, batch, first.stats)
        trial, clock = self._step(carry, first)
        found: Row = {"t": carry.clock.t, "dt": trial.taken, "residual": first.velocity.residual}
        if self.settings.tableau.embedded:
            found["step_error"] = trial.error
        if size.adaptive:
            found["rejected"] = jnp.maximum(trial.n_trials - 1, 0)
            metrics["doubts"] = {**metrics["doubts"], "tolerance": trial.ratio > 1}
        found |= metrics | {name: value for name, (value, _) in observed.items()}
        if first.velocity.info:
            found["info"] = first.velocity.info
        update = first.problem.to_parameters(trial.change)
        update = jax.tree.map(lambda u, p: u.astype(p.dtype), update, carry.params)
        carry = carry._replace(sampler_state=trial.sampler_state, following=clock)
        return carry, Proposal(first.stats, update, found)

    @override
    def apply(self, carry: TDVPCarry, update: PyTree) -> TDVPCarry:
        return carry._replace(params=moved(carry.params, update), clock=carry.following)

    @override
    def trial(self, carry: TDVPCarry, batch: PyTree, update: PyTree) -> NoReturn:
        raise NotImplementedError(
            "a step in time has no trial loss: energies after it are those of its next row."
        )


def moved(params: PyTree, change: PyTree) -> PyTree:
    """`params` plus `change`, in their own types."""
    return jax.tree.map(lambda p, c: (p + c).astype(p.dtype), params, change)


def first_clock(t: float, dt: ArrayLike) -> Clock:
    """The clock before the first step."""
    values: Any = [jnp.asarray(value, float) for value in (t, dt, t, 1.0)]
    return Clock(*values)


def checked_stops(
    tstops: Sequence[float] | None, t: float, duration: float
) -> Float[Array, " n_stops"]:
    """Times at which steps end, as an array of one of few sizes, so that programs serve again.

    Args:
        tstops: The times; those that miss the ends of the run by rounding count as these.
        t: The present time.
        duration: Time that the run takes.

    Raises:
        TypeError: If they are no real numbers.
        ValueError: If they are not all within the run.
    """
    try:
        given = np.atleast_1d(np.asarray(() if tstops is None else tstops, float))
    except (TypeError, ValueError) as error:
        raise TypeError(f"tstops takes a list of times, but {tstops!r} was given.") from error
    end = t + duration
    slack = ROUNDING * max(abs(t), abs(end))
    if given.ndim > 1 or not np.all((t - slack <= given) & (given <= end + slack)):
        raise ValueError(
            f"tstops must lie between the present time {t:g} and the end of the run "
            f"{end:g}, but {tstops!r} was given."
        )
    given = np.clip(given, t, end)
    values = np.full(STOPS * max(1, -(-len(given) // STOPS)), -np.inf)
    values[: len(given)] = np.sort(given)
    return jnp.asarray(values)
