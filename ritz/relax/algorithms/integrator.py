"""Base class of integrators, with kicks and thermal velocities."""

import jax
import jax.numpy as jnp
from ase import units
from jaxtyping import Array, Bool, Float, PyTree
from typing_extensions import override

from ritz.checks import check_positive
from ritz.relax.algorithms.stage import AbstractStage, StructureState
from ritz.relax.convergence.convergence_hook import HookLike


class AbstractIntegrator(AbstractStage):
    """Moves structures in time, by half a kick, a drift, and half a kick with the next forces.

    One force evaluation per step is enough: the second half of a kick is added when the forces of
    the next step are known, before velocities are reported.

    Args:
        dt: The time step in fs.
        convergence_hook: Criteria by which structures leave the stage; none by default.
        max_steps: Number of steps of a structure.
    """

    integrates = True

    def __init__(self, dt: float, convergence_hook: HookLike | None, max_steps: int | None):
        super().__init__(convergence_hook, max_steps)
        self.dt = check_positive("dt", dt)

    @property
    def _dt(self) -> float:
        return self.dt * units.fs

    def _kick(self, velocities: jax.Array, now: StructureState) -> jax.Array:
        """Change of the velocities by the forces in half a time step."""
        return velocities + 0.5 * self._dt * now.forces / now.masses[:, None]

    @override
    def velocities(self, state: PyTree, now: StructureState) -> Float[Array, "n 3"]:
        return self._kick(now.velocities, now)


def thermal(now: StructureState, temperature: float) -> Float[Array, "n 3"]:
    """Velocities drawn from Maxwell's and Boltzmann's distribution at `temperature`, in K."""
    noise = jax.random.normal(now.key, now.velocities.shape, now.velocities.dtype)
    spread = jnp.sqrt(units.kB * temperature / now.masses)[:, None]
    return jnp.where(now.movable, spread * noise, 0)


def kinetic_energy(velocities: jax.Array, masses: jax.Array) -> Float[Array, "..."]:
    """Kinetic energy of each structure, in eV."""
    return 0.5 * jnp.sum(masses[..., None] * velocities**2, axis=(-2, -1))


def temperature_of(kinetic: jax.Array, movable: Bool[Array, "... n 3"]) -> Float[Array, "..."]:
    """Temperature in K, from the kinetic energy in eV and the number of free coordinates."""
    n_free = jnp.sum(movable, axis=(-2, -1))
    return 2 * kinetic / (units.kB * jnp.maximum(n_free, 1))


def thermal_if_at_rest(now: StructureState, temperature: float) -> Float[Array, "n 3"]:
    """The given velocities, or thermal ones for structures at rest."""
    return jnp.where(jnp.any(now.velocities != 0), now.velocities, thermal(now, temperature))
