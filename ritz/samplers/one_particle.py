"""Metropolis sampling: one particle after another."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int, Key, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.samplers.base import AbstractSampler, LogPsi, Positions, accepts

ParticlePositions = Float[Array, "n_walkers n_dimensions"]


class OneParticleUpdate(NamedTuple):
    """How log psi changes if one particle of each walker moves, cheaper than from scratch.

    A function log psi that has one as its attribute `one_particle` is sampled with it.
    """

    init: Callable[[PyTree, Positions], PyTree]
    """`(params, positions) -> memory`, arrays whose first axis is that of the walkers."""
    move: Callable[
        [PyTree, PyTree, Int[Array, ""], ParticlePositions],
        tuple[Inexact[Array, " n_walkers"], PyTree],
    ]
    """`(params, memory, particle, place) -> (change of log psi, memory after the move)`."""


def _from_scratch(log_psi: LogPsi) -> OneParticleUpdate:
    """The update of a function that offers none."""

    def init(params: PyTree, positions: Positions) -> PyTree:
        return positions, log_psi(params, positions)

    def move(
        params: PyTree, memory: PyTree, particle: Int[Array, ""], place: ParticlePositions
    ) -> tuple[Array, PyTree]:
        there = memory[0].at[:, particle].set(place)
        value = log_psi(params, there)
        lost = ~(jnp.real(memory[1]) > -jnp.inf)  # psi vanishes, or is not a number
        change: Any = jnp.where(lost, jnp.inf, value - memory[1])
        return change, (there, value)

    return OneParticleUpdate(init, move)


@suggests_fields
@dataclasses.dataclass(frozen=True)
class OneParticle(AbstractSampler):
    """Moves the particles one after another by Gaussian steps.

    Steps are larger than those of `Metropolis` at the same acceptance. Each costs an evaluation of
    log psi, unless the function has a `OneParticleUpdate` as its attribute `one_particle`.

    Args:
        n_moves: Moves of each particle from sample to sample.
        width: Initial standard deviation of a step along each axis.

    Raises:
        ValueError: If a setting is not positive.
    """

    target_acceptance: ClassVar[float] = 0.5

    n_moves: int = 5
    width: float = 0.5

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
        update: OneParticleUpdate = getattr(log_psi, "one_particle", None) or _from_scratch(log_psi)
        n_walkers, n_particles, n_dimensions = positions.shape
        n_steps, number = self.n_moves * n_particles, positions.dtype
        of_steps, of_choice = jax.random.split(key)
        steps = width * jax.random.normal(of_steps, (n_steps, n_walkers, n_dimensions), number)
        uniform = jax.random.uniform(of_choice, (n_steps, n_walkers), number)
        particles = jnp.arange(n_steps, dtype=jnp.int32) % n_particles

        def move(state: tuple[Array, PyTree], given: tuple[Array, ...]) -> tuple[tuple, Array]:
            here, memory = state
            particle, step, chance = given
            place = here[:, particle] + step
            change, after = update.move(params, memory, particle, place)
            accepted = accepts(2 * jnp.real(change), jnp.zeros_like(chance), chance)

            def chosen(new: Any, old: Any) -> Array:
                return jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

            memory = jax.tree.map(chosen, after, memory)
            here = here.at[:, particle].set(chosen(place, here[:, particle]))
            return (here, memory), accepted

        begin = positions, update.init(params, positions)
        (positions, _), accepted = jax.lax.scan(move, begin, (particles, steps, uniform))
        return positions, jnp.mean(accepted, dtype=number)
