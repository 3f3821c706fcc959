"""The contract of samplers of continuous coordinates, and the width that they share."""

import abc
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Key, PyTree

from ritz.checks import check_count
from ritz.full_precision import in_full_precision
from ritz.types import Row

Positions: TypeAlias = Float[Array, "n_walkers n_particles n_dimensions"]
LogPsi: TypeAlias = Callable[[PyTree, Positions], Inexact[Array, " n_walkers"]]
"""`(params, positions) -> log psi`, for a batch of walkers; may be complex."""

Density: TypeAlias = Callable[[Positions], Float[Array, " n_walkers"]]
"""positions -> log |psi|^2, for a batch of walkers."""

BURNING_IN = 1.0
"""Speed at which the width follows the acceptance while burning in: in each sample it is multiplied
by the ratio of the acceptance to its target, to this power."""

RUNNING = 0.02
"""That speed while parameters are optimised."""

FIXED = 0.0
"""That speed in evaluations: the width stays as it is."""

WIDTH_OF_ONE = 0.3
"""Initial width for a single particle, by default."""

_LARGEST_CHANGE = 2.0
"""Largest factor of the width in one sample."""

_LONGEST = 1e6
"""Largest autocorrelation time that is told, in samples; walkers that stay have no finite one."""


class SamplerState(NamedTuple):
    """Walkers and what moves them; a pytree of arrays."""

    key: Key[Array, ""]
    positions: Positions
    width: Float[Array, ""]
    """Width of the moves, in the unit of the positions."""
    gain: Float[Array, ""]
    """How fast the width follows the acceptance; 0 keeps it."""


class AbstractSampler(abc.ABC):
    """Base class of samplers: Markov chains with the density |psi|^2.

    A sampler is hashable and holds settings only; walkers and width are in a `SamplerState`, whose
    structure never changes. All is pure, so that samples are drawn inside of compiled loops, and
    walkers may be distributed over devices along their first axis.

    A subclass is a frozen dataclass that implements `moves` and says what acceptance it aims at.
    """

    target_acceptance: ClassVar[float]
    """Fraction of accepted moves towards which the width is adapted."""

    n_moves: int
    """Number of moves of each particle from sample to sample."""

    width: float | None
    """Initial width of the moves; None for `WIDTH_OF_ONE` over the root of the number of particles:
    so widths of random walks of all particles scale at equal acceptance (Roberts, Gelman and Gilks,
    Ann. Appl. Probab. 7, 110, 1997), and steps along gradients may be longer."""

    @abc.abstractmethod
    def moves(
        self,
        log_psi: LogPsi,
        params: PyTree,
        positions: Positions,
        width: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Positions, Float[Array, ""]]:
        """Move the walkers `n_moves` times.

        Args:
            log_psi: `(params, positions) -> log psi`.
            params: Its parameters.
            positions: Where the walkers are.
            width: Width of the moves.
            key: A random key.

        Returns:
            Where they are then, and the fraction of moves that were accepted.
        """

    def init(
        self, key: Key[Array, ""], log_psi: LogPsi, params: PyTree, positions: Positions
    ) -> SamplerState:
        """The state of walkers that begin at `positions`.

        Args:
            key: A random key.
            log_psi: `(params, positions) -> log psi`.
            params: Its parameters.
            positions: One configuration for each walker; psi must not vanish there.

        Raises:
            ValueError: If `positions` has not three axes.
        """
        positions = jnp.asarray(positions)
        if positions.ndim != 3 or not jnp.issubdtype(positions.dtype, jnp.floating):
            raise ValueError(
                "positions must be real numbers of the shape (n_walkers, n_particles, "
                f"n_dimensions), but {positions.dtype}{list(positions.shape)} was given."
            )
        number = positions.dtype
        width = WIDTH_OF_ONE / math.sqrt(positions.shape[1]) if self.width is None else self.width
        return SamplerState(
            key, positions, jnp.asarray(width, number), jnp.asarray(BURNING_IN, number)
        )

    @in_full_precision
    def sample(
        self, log_psi: LogPsi, params: PyTree, state: SamplerState
    ) -> tuple[Positions, SamplerState, Row]:
        """Draw one sample from each walker; a pure function of JAX.

        Args:
            log_psi: `(params, positions) -> log psi`.
            params: Its parameters.
            state: From `init` or from the last call.

        Returns:
            The positions; the new state; and to log: `acceptance` (fraction of accepted moves),
            `width` and `autocorrelation_time` (of the positions, in calls of `sample`, which are
            `n_moves` moves each and one step of a driver; from the walkers' displacements, as if
            correlations fell exponentially).
        """
        key, now = jax.random.split(state.key)
        positions, acceptance = self.moves(log_psi, params, state.positions, state.width, now)
        ratio = acceptance / self.target_acceptance
        factor = jnp.clip(ratio, 1 / _LARGEST_CHANGE, _LARGEST_CHANGE) ** state.gain
        metrics: Row = {
            "acceptance": acceptance,
            "width": state.width,
            "autocorrelation_time": _autocorrelation_time(state.positions, positions),
        }
        width = (state.width * factor).astype(state.width.dtype)
        return positions, SamplerState(key, positions, width, state.gain), metrics

    def with_gain(self, state: SamplerState, gain: float) -> SamplerState:
        """The state with another speed of adaptation: `BURNING_IN`, `RUNNING` or `FIXED`.

        Chains have exactly the density |psi|^2 only if the width is fixed.
        """
        return state._replace(gain=jnp.full_like(state.gain, gain))

    def _check(self) -> None:
        """Refuse settings that no sampler can have; for `__post_init__`."""
        check_count("n_moves", self.n_moves, 1)
        if self.width is None:
            return
        if not (isinstance(self.width, int | float) and 0 < self.width < math.inf):
            raise ValueError(
                f"width must be a positive number, a distance, but {self.width!r} was given."
            )


def density(log_psi: LogPsi, params: PyTree) -> Density:
    """Log |psi|^2 of positions; -inf where log psi is not a number."""

    def log_density(positions: Positions) -> Float[Array, " n_walkers"]:
        value = 2 * jnp.real(log_psi(params, positions))
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    return log_density


def accepts(
    log_there: Float[Array, " n_walkers"],
    log_here: Float[Array, " n_walkers"],
    uniform: Float[Array, " n_walkers"],
) -> Bool[Array, " n_walkers"]:
    """Whether moves are accepted, by the rule of Metropolis (J. Chem. Phys. 21, 1087, 1953).

    Walkers that are where the density is zero move freely, until they leave.

    Args:
        log_there: Logarithm of the density after the move, times that of proposing the way back.
        log_here: Logarithm of the density before it, times that of proposing it.
        uniform: Random numbers from [0, 1).
    """
    return (jnp.log1p(-uniform) < log_there - log_here) | jnp.isneginf(log_here)


def _autocorrelation_time(before: Positions, after: Positions) -> Float[Array, ""]:
    """(1 + rho) / (1 - rho) with rho the correlation of positions before and after the moves.

    rho is 1 - <|after - before|^2> / (2 Var), summed over coordinates; walkers that stay have 1.
    """
    variance = jnp.sum(jnp.var(after, axis=0))
    displacement = jnp.mean(jnp.sum((after - before) ** 2, axis=(1, 2)))
    rho = jnp.clip(1 - displacement / (2 * variance), 0, 1 - 2 / _LONGEST)
    return (1 + rho) / (1 - rho)
