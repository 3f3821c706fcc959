"""What all integrators share: kicks, and thermal velocities."""

from typing import Any

import jax
import jax.numpy as jnp
from ase import units
from jaxtyping import Array, Bool, Float
from typing_extensions import override

from ritz.checks import check_positive
from ritz.relax.stage import AbstractStage, Now


class AbstractIntegrator(AbstractStage):
    """Moves structures in time, by half a kick, a drift, and half a kick with the next forces.

    So one force evaluation a step is enough: the second half of a kick is given when the forces
    of the next step are there, before anybody looks at velocities.

    Args:
        dt: The time step in fs.
        convergence_hook: When structures leave, if ever.
        max_steps: How many steps a structure takes.
    """

    integrates = True

    def __init__(self, dt: float, convergence_hook: Any, max_steps: int | None):
        super().__init__(convergence_hook, max_steps)
        self.dt = check_positive("dt", dt)

    @property
    def _dt(self) -> float:
        return self.dt * units.fs

    def _kick(self, velocities: Any, now: Now) -> Any:
        """Half a kick."""
        return velocities + 0.5 * self._dt * now.forces / now.masses[:, None]

    @override
    def velocities(self, state: Any, now: Now) -> Float[Array, "n 3"]:
        return self._kick(now.velocities, now)


def thermal(now: Now, temperature: float) -> Float[Array, "n 3"]:
    """Velocities drawn from Maxwell's and Boltzmann's distribution at `temperature`, in K."""
    noise = jax.random.normal(now.key, now.velocities.shape, now.velocities.dtype)
    spread = jnp.sqrt(units.kB * temperature / now.masses)[:, None]
    return jnp.where(now.movable, spread * noise, 0)


def kinetic_energy(velocities: Any, masses: Any) -> Float[Array, "..."]:
    """Of each structure, in eV."""
    return 0.5 * jnp.sum(masses[..., None] * velocities**2, axis=(-2, -1))


def temperature_of(kinetic: Any, movable: Bool[Array, "... n 3"]) -> Float[Array, "..."]:
    """In K, from the kinetic energy and the number of directions in which atoms may move."""
    n_free = jnp.sum(movable, axis=(-2, -1))
    return 2 * kinetic / (units.kB * jnp.maximum(n_free, 1))


def thermal_if_at_rest(now: Now, temperature: float) -> Float[Array, "n 3"]:
    """The velocities; thermal ones for structures in which nothing moves."""
    return jnp.where(jnp.any(now.velocities != 0), now.velocities, thermal(now, temperature))
