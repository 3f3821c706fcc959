"""Doubts about the numbers of a step, found in the compiled step."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import chdtrc, gammaln

LOWEST_ACCEPTANCE = 1e-3
HIGHEST_R_HAT = 1.1
LOWEST_ESS, FEWEST_EFFECTIVE = 0.01, 10
"""Lowest fraction and number of effective samples."""

LARGEST_JUMP = 1e3
"""Largest ratio of the variance to that of the last steps."""

GROWTH, FORGETTING, FALL = 2.0, 1.05, 1.1
"""Largest factors of the reference variance in a step: growth, growth after a jump, and fall. It
grows fast in a run that leaves an eigenstate, but adapts slowly to a jump, and falls slowly if few
samples show no variance at many steps."""

SUDDEN = 0.25
"""Acceptance in the step before, above which frozen chains count as sudden."""

WAY_BACK = 0.1
"""Fraction of the gained energy whose loss, with frozen chains, means an explosion."""

ROUNDING = 1e-20
"""Variances below this fraction of the squared energy are rounding errors."""

CHANCE = 1e-4
"""R-hat is judged where independent samples would exceed `HIGHEST_R_HAT` more rarely than this."""

RETURN = 1e-6
"""Chains count as frozen where free ones would be back where they were more rarely than this."""

TELLING = frozenset({"exploded", "variance"})
"""Doubts that mean exploded parameters, if they were not there from the start. Frozen chains do not
mean that: chains also freeze if a run has converged to a product state."""

REMEDIES = {
    "acceptance": f"the sampler accepts fewer than {LOWEST_ACCEPTANCE:g} of its moves: the chains "
    "are frozen, and neither the energy nor its error means anything; try another sampler or rule "
    "(more than one flip a move, exchange), a smaller learning rate, or begin again",
    "chains": "no chain has moved, although moves were accepted: the samples are those of the step "
    "before; try another sampler or rule, or a larger sweep_size",
    "exploded": "the chains are frozen at once, or at a much higher energy than before: the "
    "parameters have exploded; try a smaller learning rate, more damping (diag_shift) or "
    'on_divergence="retry"',
    "taken_back": "the loss has changed by more than a step can change it: the step before is "
    "taken back, and the next ones are shorter; if that happens often, try a smaller learning "
    "rate, more damping (diag_shift) or more samples",
    "stuck": "steps are taken back again and again, however short they are: where the run has come "
    "to, the energy is not to be trusted (samples miss where it is, or projections onto symmetries "
    "cancel); begin again with a smaller learning rate, more samples or more damping (diag_shift)",
    "r_hat": f"R-hat is above {HIGHEST_R_HAT:g}: the chains disagree, so that the error bar is too "
    "small; try more sweeps between samples (sweep_size), more discarded ones "
    "(n_discard_per_chain), or more chains",
    "ess": f"the samples are worth less than {LOWEST_ESS:.0%} of their number, or fewer than "
    f"{FEWEST_EFFECTIVE}: a few have most of the weight |psi|^(2 - machine_pow), so that neither "
    "the energy nor its error means much; try a machine_pow nearer to 2, or more samples",
    "error": "all samples are the same configuration: the error bar and the V-score mean nothing; "
    "try more chains, or another sampler or rule",
    "variance": f"the variance of the energy has jumped by more than {LARGEST_JUMP:g}: the "
    "parameters have exploded, or a few samples dominate; try a smaller learning rate, more "
    'damping (diag_shift) or on_divergence="retry"',
}


class Watch(NamedTuple):
    """Data of earlier steps by which the next one is judged."""

    variance: Float[Array, ""]
    """Reference value of the variance; infinite before the first step."""
    still: Int[Array, ""]
    """Number of steps in a row in which no chain has moved."""
    lowest: Float[Array, ""]
    """Lowest energy plus standard deviation among the well-sampled steps."""
    highest: Float[Array, ""]
    """The highest such energy."""
    acceptance: Float[Array, ""]
    """The fraction of moves that were accepted in the last step that was sampled well."""

    @classmethod
    def begin(cls) -> "Watch":
        """The initial `Watch`, before the first step."""
        infinite = jnp.asarray(jnp.inf, float)
        still = jnp.zeros((), jnp.int32)
        return cls(infinite, still, infinite, -infinite, jnp.zeros((), float))

    def after(self, moved: Bool[Array, ""]) -> "Watch":
        """What is known after a step.

        Args:
            moved: Whether any chain has moved in it.
        """
        still = jnp.where(moved, 0, self.still + 1)
        return self._replace(still=still.astype(self.still.dtype))

    def is_lost(self, energy: Array) -> Bool[Array, ""]:
        """Whether an energy is well above those reached before."""
        back = self.highest - self.lowest
        return energy > self.lowest + jnp.where(back > 0, WAY_BACK * back, 0)


def of_sampling(
    watch: Watch,
    samples: Array,
    stats: nk.stats.Stats,
    acceptance: Array | None,
    chains: tuple[int, int] | None,
    ess: Array | None = None,
    patience: int = 1,
) -> dict[str, Bool[Array, ""]]:
    """The doubts about samples.

    Args:
        watch: Data of earlier steps.
        samples: Shape (n_chains, chain_length, n_sites).
        stats: The statistics of the energy.
        acceptance: The fraction of accepted moves; None if the sampler proposes none.
        chains: Number and length of the chains; None if they are not Markov chains.
        ess: Effective number of samples over their number, if they are weighted.
        patience: Number of steps in a row without a move that mean frozen chains, see
            `standstill`.
    """
    found = {}
    if ess is not None:
        n_samples = samples.size // samples.shape[-1]
        found["ess"] = (ess < LOWEST_ESS) | (n_samples * ess < min(FEWEST_EFFECTIVE, n_samples / 2))
    if acceptance is not None:
        found["acceptance"] = acceptance < LOWEST_ACCEPTANCE
        found["chains"] = (watch.still >= patience) & ~found["acceptance"]
        if samples.shape[0] * samples.shape[1] > 1:
            found["error"] = ~jnp.any(samples != samples[:1, :1])
    if chains is not None and judges_r_hat(*chains):
        found["r_hat"] = stats.R_hat > HIGHEST_R_HAT
    return found


def standstill(n_sites: int, sweep_size: int, length: int) -> int:
    """Number of steps in a row in which no chain moves that mean frozen chains.

    All chains of `SweepSampler` move at the same sites. Where nearly all moves are accepted, none
    has moved after a sweep that flips each site an even number of times. For n sites and m moves
    the chance of that is 2^-n sum_k C(n, k) (1 - 2 k/n)^m, which for few sites is not small.
    An acceptance above zero says little, as exchanges of equal spins count as accepted.

    Args:
        n_sites: Number of sites.
        sweep_size: Number of moves between samples.
        length: Number of samples of each chain in a step.
    """
    moves = max(2, sweep_size - sweep_size % 2)  # the chance is zero for odd numbers
    k = np.arange(n_sites + 1)
    choices = gammaln(n_sites + 1) - gammaln(k + 1) - gammaln(n_sites - k + 1)
    chance = np.sum(np.exp(choices - n_sites * np.log(2)) * (1 - 2 * k / n_sites) ** moves)
    steps = math.log(RETURN) / (length * math.log(min(chance, 0.5)))
    return max(1, math.ceil(steps))


def judges_r_hat(n_chains: int, length: int) -> bool:
    """Whether R-hat is meaningful for chains of this length.

    R-hat^2 is (N - 1)/N plus the variance of the means of half chains over that of the samples; of
    independent samples these means have the variance 2/N.
    """
    if n_chains < 2 or length < 4:
        return False
    freedom = 2 * n_chains - 1
    ratio = (HIGHEST_R_HAT**2 - 1 + 1 / length) * length / 2
    return bool(chdtrc(freedom, ratio * freedom) < CHANCE)


def of_explosion(
    watch: Watch, stats: nk.stats.Stats, acceptance: Array | None, found: Mapping[str, Array]
) -> tuple[Watch, Bool[Array, ""]]:
    """Whether the chains are frozen because the parameters have exploded.

    That is: at once, or at an energy that is lost. Where a run converges to a product state they
    freeze step by step, at the lowest energy.

    Args:
        watch: Data of earlier steps.
        stats: The statistics of the energy.
        acceptance: As `of_sampling` takes it.
        found: The other doubts, as `of_sampling` and `of_variance` give them.
    """
    no = jnp.zeros((), bool)
    energy = jnp.real(stats.mean)
    frozen = found.get("acceptance", no) | found.get("chains", no)
    exploded = frozen & (watch.is_lost(energy) | (watch.acceptance > SUDDEN))
    above = energy + jnp.sqrt(jnp.real(stats.variance))
    still = frozen | (watch.still > 0)
    well = jnp.isfinite(above) & ~(still | found.get("error", no) | found.get("variance", no))
    seen = watch._replace(
        lowest=jnp.minimum(above, watch.lowest),
        highest=jnp.maximum(above, watch.highest),
        acceptance=watch.acceptance if acceptance is None else acceptance,
    )
    seen = jax.tree.map(lambda new, old: jnp.where(well, new, old).astype(old.dtype), seen, watch)
    return seen, exploded


def of_variance(watch: Watch, stats: nk.stats.Stats) -> tuple[Watch, Bool[Array, ""]]:
    """Whether the variance has jumped, and the reference value for the next step."""
    variance = stats.variance
    least = ROUNDING * (1 + jnp.abs(stats.mean) ** 2)
    before = jnp.maximum(watch.variance, least)
    jumped = variance > LARGEST_JUMP * before
    allowed = before * jnp.where(jumped, FORGETTING, GROWTH)
    least = jnp.where(jnp.isfinite(before), before / FALL, 0)
    reference = jnp.where(jnp.isfinite(variance), jnp.clip(variance, least, allowed), allowed)
    return watch._replace(variance=reference.astype(watch.variance.dtype)), jumped
