"""Molecular dynamics at constant temperature."""

import math

import jax
import jax.numpy as jnp
from ase import units
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.integrator import AbstractIntegrator, thermal_if_at_rest
from ritz.relax.algorithms.stage import PhasePoint, StructureState
from ritz.relax.convergence.convergence_hook import HookLike


class NVTLangevin(AbstractIntegrator):
    """Langevin dynamics by the BAOAB splitting.

    Half a kick (B), half a drift (A), friction and noise solved exactly (O), half a drift, half a
    kick (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34). Noise depends on the seed of
    the run, the structure and its step alone, not on the batch around it.

    Args:
        temperature: Temperature in K.
        dt: The time step in fs.
        friction: Friction coefficient in 1/fs.
        convergence_hook: Criteria by which structures leave the stage; none by default.
        max_steps: Number of steps of a structure.

    Structures at rest start with thermal velocities.
    """

    @suggests_names
    def __init__(
        self,
        temperature: float,
        dt: float = 1.0,
        friction: float = 0.01,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(dt, convergence_hook, max_steps)
        self.temperature = check_positive("temperature", temperature)
        self.friction = check_positive("friction", friction)

    @property
    @override
    def settings(self) -> tuple[float, ...]:
        return self.temperature, self.dt, self.friction

    @override
    def enter(self, now: StructureState) -> tuple[tuple[()], Float[Array, "n 3"]]:
        return (), thermal_if_at_rest(now, self.temperature)

    def advance(self, state: tuple[()], now: StructureState) -> tuple[tuple[()], PhasePoint]:
        """B A O A; the last B comes with the next forces."""
        x, v = self._baoa(now)
        return (), PhasePoint(x, v, now.cell)

    def _baoa(self, now: StructureState) -> tuple[jax.Array, jax.Array]:
        half = 0.5 * self._dt
        decay = math.exp(-self.friction * self.dt)
        v = self._kick(now.velocities, now)
        x = now.positions + half * v
        noise = jax.random.normal(jax.random.fold_in(now.key, 1), v.shape, v.dtype)
        spread = jnp.sqrt((1 - decay**2) * units.kB * self.temperature / now.masses)[:, None]
        v = decay * v + jnp.where(now.movable, spread * noise, 0)
        return x + half * v, v
