"""Metropolis-adjusted Langevin dynamics."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.samplers.base import AbstractSampler, LogPsi, Positions, accepts, density


class _Walkers(NamedTuple):
    positions: Positions
    log_density: Float[Array, " n_walkers"]
    drift: Positions
    """Mean displacement of the next move."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class MALA(AbstractSampler):
    """Moves all particles along the gradient of log |psi|, with noise, and accepts or rejects.

    The step is width^2 grad log|psi| plus Gaussian noise of the standard deviation `width`, and is
    accepted by the ratio of densities and of proposals there and back (Roberts and Tweedie,
    Bernoulli 2, 341, 1996). A particle's mean step is limited near nodes and nuclei, where the
    gradient diverges (Umrigar, Nightingale and Runge, J. Chem. Phys. 99, 2865, 1993, eq. 35).

    Args:
        n_moves: Moves from sample to sample; each costs a gradient of log psi.
        width: Initial standard deviation of the noise along each axis; None for 0.3 over the root
            of the number of particles.

    Raises:
        ValueError: If a setting is not positive.
    """

    target_acceptance: ClassVar[float] = 0.57

    n_moves: int = 5
    width: float | None = None

    def __post_init__(self) -> None:
        self._check()

    @override
    def moves(
        self,
        log_psi: LogPsi,
        params: PyTree,
        positions: Positions,
        width: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Positions, Float[Array, ""]]:
        log_density = density(log_psi, params)
        of_steps, of_choice = jax.random.split(key)
        number, n_walkers = positions.dtype, positions.shape[0]
        noise = width * jax.random.normal(of_steps, (self.n_moves, *positions.shape), number)
        uniform = jax.random.uniform(of_choice, (self.n_moves, n_walkers), number)

        def at(positions: Positions) -> _Walkers:
            value, pullback = jax.vjp(log_density, positions)
            (slope,) = pullback(jnp.ones_like(value))
            return _Walkers(positions, value, _limited(width**2 * slope / 2, width))

        def log_proposal(begin: _Walkers, end: Positions) -> Float[Array, " n_walkers"]:
            misses = end - begin.positions - begin.drift
            return -jnp.sum(misses**2, axis=(1, 2)) / (2 * width**2)

        def move(here: _Walkers, given: tuple[Array, Array]) -> tuple[_Walkers, Array]:
            there = at(here.positions + here.drift + given[0])
            accepted = accepts(
                there.log_density + log_proposal(there, here.positions),
                here.log_density + log_proposal(here, there.positions),
                given[1],
            )
            chosen = jax.tree.map(
                lambda new, old: jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old),
                there,
                here,
            )
            return chosen, accepted

        walkers, accepted = jax.lax.scan(move, at(positions), (noise, uniform))
        return walkers.positions, jnp.mean(accepted, dtype=number)


def _limited(drift: Positions, width: Float[Array, ""]) -> Positions:
    """The drift of each particle, no longer than about `width` times the square root of 2."""
    squared = jnp.sum(drift**2, axis=-1, keepdims=True) / width**2
    finite = jnp.isfinite(squared)
    squared = jnp.where(finite, squared, 0)
    # (sqrt(1 + 2 v^2 t) - 1) / (v^2 t) with v^2 t = squared, without cancellation.
    return jnp.where(finite, drift, 0) * 2 / (1 + jnp.sqrt(1 + 2 * squared))
