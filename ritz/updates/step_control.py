"""Bounds on the steps of an optimisation, and the way back from a step that was too long."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from ritz.checks import check_number
from ritz.driver.signatures import suggests_fields
from ritz.types import Row

MOST_TRIALS = 12
"""Largest number of lengths of a step that are tried; each one costs a forward pass."""

LEAST, MOST, LOST = 0.1, 0.7, 0.25
"""Factors by which a step that is too long is shortened: at least, at most, and where the wave
function is not finite after it."""

TOLERANCE = 1.1
"""Factor of the bound up to which a shortened step is accepted."""

ERRORS = 5.0
"""Standard errors that are added to the allowed change of the loss."""

ROUNDING, LEAST_SIZE = 1e-5, 1e-7
"""Change of the loss that may be rounding, of log psi in single precision: a fraction of the
largest loss so far, which counts as `LEAST_SIZE` at least."""

DOWNWARDS = 2.0
"""Factor of the largest change of the loss for one that is lower."""

MEMORY = 0.1
"""Share of a step in the reference for higher losses, and in that for deviations."""

CAUTION, RECOVERY = 0.25, 1.1
"""Factor of the steps after one was taken back, and by what it grows in every later step."""

STUCK = 1e-3
"""Such a factor, which the sixth try of a step has, means that no length helps."""


class ControlState(NamedTuple):
    """Memory of `StepControl` from step to step."""

    scale: Float[Array, ""]
    """Factor of the present step."""
    caution: Float[Array, ""]
    """Factor of steps after one was taken back, at most 1."""
    loss: Float[Array, ""]
    """Loss with which that of a step is compared; infinite before the first step."""
    deviation: Float[Array, ""]
    """Typical standard deviation of the local losses."""
    error: Float[Array, ""]
    """Standard error of the last plausible loss."""
    error_of_reference: Float[Array, ""]
    """Standard error of `loss`."""
    largest: Float[Array, ""]
    """The largest plausible loss so far, without its sign."""
    goes_back: Bool[Array, ""]
    """Whether the present step goes back to `good`."""
    good: PyTree
    """What the last step began with whose loss was plausible."""

    @property
    def is_stuck(self) -> Bool[Array, ""]:
        """Whether steps are taken back again and again, however short they are."""
        return self.goes_back & (self.caution < STUCK)


@suggests_fields
@dataclasses.dataclass(frozen=True)
class StepControl:
    """Shortens steps that change the state too much, and takes back those that make it explode.

    After each update the state before and after it are compared on the samples of the step: a step
    is shortened until 1 - |<psi|psi'>|^2, with both states normalised, is at most
    `max_infidelity`. To lowest order that is d^T S d, the squared length of the step in the metric
    of the natural gradient, but it holds for steps of any length and for any update rule and
    optimiser. A step costs one evaluation of log psi at the samples more.

    A step after which the loss is higher than before by more than `max_jump` standard deviations of
    the local losses (and five standard errors of both), or lower by more than twice as much, is
    taken back:
    parameters, samples, and the memories of optimiser and update rule are those of the state
    before, and the next steps are shorter. To first order, a step within the bound changes the loss
    by at most 2 sqrt(max_infidelity) standard deviations. Far lower losses are as implausible as
    far higher ones: they come from few samples with huge local losses. "Before" has a memory, so
    that many small steps upwards count as one: a lower loss counts at once, a higher one and the
    deviations by a tenth a step.

    Steps that keep both bounds are not changed by a bit.

    Args:
        max_infidelity: Largest infidelity of the states before and after a step, in (0, 1); None
            for no bound.
        max_jump: Largest rise of the loss, in standard deviations of the local losses; None to take
            no step back.
    """

    max_infidelity: float | None = 0.2
    max_jump: float | None = 1.0

    def __post_init__(self) -> None:
        if self.max_infidelity is not None:
            check_number("max_infidelity", self.max_infidelity, 0, strict=True)
            if self.max_infidelity >= 1:
                raise ValueError(
                    f"max_infidelity must be below 1, but {self.max_infidelity!r} was given; None "
                    "sets no bound."
                )
        if self.max_jump is not None:
            check_number("max_jump", self.max_jump, 0, strict=True)

    def begin(self, good: PyTree) -> ControlState:
        """The state before the first step.

        Args:
            good: What a step that is taken back goes back to, a pytree of arrays.
        """
        one, infinite = jnp.ones((), float), jnp.asarray(jnp.inf, float)
        zero = jnp.zeros((), float)
        no = jnp.zeros((), bool)
        kept = jax.tree.map(jnp.asarray, good) if self.max_jump is not None else None
        return ControlState(one, one, infinite, zero, zero, zero, zero, no, kept)

    def judge(
        self,
        state: ControlState,
        now: PyTree,
        loss: Float[Array, ""],
        variance: Float[Array, ""],
        error: Float[Array, ""],
    ) -> ControlState:
        """Decide whether the step goes back, before its length is chosen.

        Args:
            state: Of the last step.
            now: What the step begins with, as `good`.
            loss: Its loss.
            variance: The variance of the local losses.
            error: The standard error of the loss.
        """
        if self.max_jump is None:
            return state
        error = jnp.where(jnp.isfinite(error), error, 0)
        deviation, size = jnp.sqrt(variance), jnp.maximum(state.largest, LEAST_SIZE)
        noise = ERRORS * jnp.hypot(state.error, state.error_of_reference) + ROUNDING * size
        rise, most = loss - state.loss, self.max_jump * state.deviation
        plausible = (rise <= most + noise) & (-rise <= DOWNWARDS * most + noise)
        # After going back the loss is that of the same state: a reference that was wrong by chance
        # is replaced. Samples that are all the same give none.
        known = jnp.isfinite(state.loss) & ~state.goes_back
        anew = ~(known & (state.deviation > 0))
        exploded = (known & ~jnp.isfinite(loss)) | ~(anew | plausible)
        careful = jnp.minimum(state.caution * RECOVERY, 1.0)
        typical = state.deviation ** (1 - MEMORY) * deviation**MEMORY
        typical = jnp.where(anew, deviation, typical)
        typical = jnp.where(jnp.isfinite(deviation) & (deviation > 0), typical, state.deviation)
        share = jnp.where(anew | (rise < 0), 1.0, MEMORY)
        after = state._replace(
            loss=jnp.where(anew, loss, state.loss + share * rise),
            deviation=typical,
            error=error,
            error_of_reference=(1 - share) * state.error_of_reference + share * error,
            largest=jnp.maximum(state.largest, jnp.where(jnp.isfinite(loss), jnp.abs(loss), 0)),
            good=now,
        )
        kept = select(exploded, state, jax.tree.map(_like, after, state))
        return kept._replace(
            caution=jnp.where(exploded, state.caution * CAUTION, careful), goes_back=exploded
        )

    def shorten(
        self,
        state: ControlState,
        at_length: Callable[[Array], Inexact[Array, " n_samples"]],
        probabilities: Array | float,
    ) -> tuple[ControlState, Row]:
        """Choose the length of the step.

        Args:
            state: From `judge`.
            at_length: The change of log psi of each sample after the step times a factor.
            probabilities: Of the samples.

        Returns:
            The state with the factor of the step, and numbers to log.
        """
        scale = state.caution
        if self.max_infidelity is not None:
            bound = self.max_infidelity

            def too_long(trial: tuple[Array, Array, Array]) -> Array:
                _, found, count = trial
                limit = jnp.where(count == 1, bound, TOLERANCE * bound)
                return ~(found <= limit) & (count < MOST_TRIALS) & ~state.goes_back

            def shorter(trial: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                scale, found, count = trial
                factor = jnp.clip(jnp.sqrt(bound / found), LEAST, MOST)
                scale = scale * jnp.where(jnp.isfinite(found), factor, LOST)
                return scale, infidelity(at_length(scale), probabilities), count + 1

            first = infidelity(at_length(scale), probabilities)
            trial = scale, first, jnp.ones((), jnp.int32)
            scale, found, _ = jax.lax.while_loop(too_long, shorter, trial)
            scale = jnp.where(jnp.isfinite(found), scale, 0.0)
        return state._replace(scale=scale), {"step_scale": scale}


def _like(leaf: Any, old: Any) -> Any:
    """A leaf in the type of the old one."""
    return leaf if leaf.dtype == old.dtype else leaf.astype(old.dtype)


def infidelity(
    changes: Inexact[Array, " n_samples"], probabilities: Array | float
) -> Float[Array, ""]:
    """1 - |<psi|psi'>|^2 of normalised states, from samples of psi.

    Args:
        changes: log psi' - log psi of each sample.
        probabilities: Of the samples, |psi|^2; one number for all.

    Returns:
        A number in [0, 1]; not finite if any change is not.
    """
    changes = changes.astype(jnp.promote_types(changes.dtype, float))
    ratios = jnp.exp(changes - jnp.max(changes.real))
    weights = jnp.broadcast_to(jnp.asarray(probabilities), ratios.shape)
    mean, square = jnp.sum(weights * ratios), jnp.sum(weights * jnp.abs(ratios) ** 2)
    return 1 - jnp.abs(mean) ** 2 / (square * jnp.sum(weights))


def select(condition: Bool[Array, ""], yes: PyTree, no: PyTree) -> PyTree:
    """One of two equal trees, leaf by leaf; random keys are always those of `no`."""

    def of_leaf(yes: Any, no: Any) -> Any:
        if jnp.issubdtype(no.dtype, jax.dtypes.prng_key):
            return no
        return jnp.where(condition, yes, no).astype(no.dtype)

    return jax.tree.map(of_leaf, yes, no)
