"""Metropolis sampling: all particles at once."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.samplers.base import AbstractSampler, LogPsi, Positions, accepts, density


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Metropolis(AbstractSampler):
    """Moves all particles by Gaussian steps (Metropolis et al., J. Chem. Phys. 21, 1087, 1953).

    Args:
        n_moves: Moves from sample to sample.
        width: Initial standard deviation of a step along each axis; None for 0.3 over the root of
            the number of particles.

    Raises:
        ValueError: If a setting is not positive.
    """

    target_acceptance: ClassVar[float] = 0.5

    n_moves: int = 10
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
        steps = width * jax.random.normal(of_steps, (self.n_moves, *positions.shape), number)
        uniform = jax.random.uniform(of_choice, (self.n_moves, n_walkers), number)

        def move(state: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple, Array]:
            here, log_here = state
            there = here + given[0]
            log_there = log_density(there)
            accepted = accepts(log_there, log_here, given[1])
            here = jnp.where(accepted[:, None, None], there, here)
            return (here, jnp.where(accepted, log_there, log_here)), accepted

        begin = positions, log_density(positions)
        (positions, _), accepted = jax.lax.scan(move, begin, (steps, uniform))
        return positions, jnp.mean(accepted, dtype=number)
