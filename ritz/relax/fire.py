"""FIRE, the fast inertial relaxation engine."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ritz.driver.arguments import check_count
from ritz.relax.cell import FrechetCell
from ritz.relax.optimizer import AbstractOptimizer, mixed, positive, within_norm


class FireState(NamedTuple):
    """The state of FIRE and FIRE2 for one structure."""

    velocities: Float[Array, "m 3"]
    dt: Float[Array, ""]
    mixing: Float[Array, ""]
    downhill: Int[Array, ""]
    """Steps since the power was last negative."""
    moving: Int[Array, ""]
    """0 at the first step, 1 then."""


class FIRE(AbstractOptimizer):
    """Molecular dynamics that is turned towards the forces, and stopped when it goes uphill.

    Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), with unit masses and the order of
    operations and defaults of ASE, so that both take the same steps.

    Args:
        dt: The first time step.
        dt_max: The largest one.
        max_step: The norm that the change of all coordinates together may have, in Angstrom.
        n_min: Steps downhill before the time step grows.
        grow: By what it grows then.
        shrink: By what it is multiplied when the power is negative.
        mixing: How much velocities are turned at first.
        mixing_decay: By what this is multiplied when the time step grows.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: How many steps a structure may take.
    """

    def __init__(
        self,
        dt: float = 0.1,
        dt_max: float = 1.0,
        max_step: float = 0.2,
        n_min: int = 5,
        grow: float = 1.1,
        shrink: float = 0.5,
        mixing: float = 0.1,
        mixing_decay: float = 0.99,
        cell: FrechetCell | bool | None = None,
        convergence_hook: Any = None,
        max_steps: int | None = None,
    ):
        super().__init__(max_step, cell, convergence_hook, max_steps)
        self.dt = positive("dt", dt)
        self.dt_max = positive("dt_max", dt_max)
        self.n_min = check_count("n_min", n_min, 0)
        self.grow = positive("grow", grow)
        self.shrink = positive("shrink", shrink)
        self.mixing = positive("mixing", mixing)
        self.mixing_decay = positive("mixing_decay", mixing_decay)

    @property
    def own_settings(self) -> Any:
        """The arguments."""
        return (
            self.dt, self.dt_max, self.n_min, self.grow, self.shrink, self.mixing,
            self.mixing_decay,
        )  # fmt: skip

    def start(self, forces: Float[Array, "m 3"]) -> FireState:
        """At rest."""
        real = forces.dtype
        return FireState(
            jnp.zeros_like(forces), jnp.asarray(self.dt, real), jnp.asarray(self.mixing, real),
            jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32),
        )  # fmt: skip

    def step(self, state: FireState, forces: Any) -> tuple[FireState, Any]:
        """One step of the dynamics."""
        v, dt, mixing, downhill, moving = state
        ahead = (jnp.sum(forces * v) > 0) & (moving > 0)
        behind = ~ahead & (moving > 0)
        faster = ahead & (downhill > self.n_min)
        v = jnp.where(ahead, mixed(v, forces, mixing), 0)
        dt = jnp.where(faster, jnp.minimum(dt * self.grow, self.dt_max), dt)
        dt = jnp.where(behind, dt * self.shrink, dt)
        mixing = jnp.where(faster, mixing * self.mixing_decay, mixing)
        mixing = jnp.where(behind, self.mixing, mixing)
        downhill = jnp.where(ahead, downhill + 1, 0)
        v += dt * forces
        state = FireState(v, dt, mixing, downhill, jnp.ones_like(moving))
        return state, within_norm(dt * v, self.max_step)


class FIRE2(AbstractOptimizer):
    """FIRE with a semi-implicit integration and half a step back when it goes uphill.

    Guenole et al., Comput. Mater. Sci. 175, 109584 (2020), with unit masses and the defaults of
    ASE.

    Args:
        dt: The first time step.
        dt_max: The largest one.
        dt_min: The smallest one.
        max_step: The norm that the change of all coordinates together may have, in Angstrom.
        n_min: Steps downhill before the time step grows.
        grow: By what it grows then.
        shrink: By what it is multiplied when the power is negative.
        mixing: How much velocities are turned at first.
        mixing_decay: By what this is multiplied when the time step grows.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: How many steps a structure may take.
    """

    def __init__(
        self,
        dt: float = 0.1,
        dt_max: float = 1.0,
        dt_min: float = 2e-3,
        max_step: float = 0.2,
        n_min: int = 20,
        grow: float = 1.1,
        shrink: float = 0.5,
        mixing: float = 0.25,
        mixing_decay: float = 0.99,
        cell: FrechetCell | bool | None = None,
        convergence_hook: Any = None,
        max_steps: int | None = None,
    ):
        super().__init__(max_step, cell, convergence_hook, max_steps)
        self.dt = positive("dt", dt)
        self.dt_max = positive("dt_max", dt_max)
        self.dt_min = positive("dt_min", dt_min)
        self.n_min = check_count("n_min", n_min, 0)
        self.grow = positive("grow", grow)
        self.shrink = positive("shrink", shrink)
        self.mixing = positive("mixing", mixing)
        self.mixing_decay = positive("mixing_decay", mixing_decay)

    @property
    def own_settings(self) -> Any:
        """The arguments."""
        return (
            self.dt, self.dt_max, self.dt_min, self.n_min, self.grow, self.shrink, self.mixing,
            self.mixing_decay,
        )  # fmt: skip

    start = FIRE.start

    def step(self, state: FireState, forces: Any) -> tuple[FireState, Any]:
        """One step of the dynamics.

        As with one force evaluation a step it must, the kick after half a step back is that of
        the forces before it.
        """
        v, dt, mixing, downhill, moving = state
        ahead = (jnp.sum(forces * v) > 0) & (moving > 0)
        behind = ~ahead & (moving > 0)
        downhill = jnp.where(ahead, downhill + 1, 0)
        faster = ahead & (downhill > self.n_min)
        dt = jnp.where(faster, jnp.minimum(dt * self.grow, self.dt_max), dt)
        dt = jnp.where(behind, jnp.maximum(dt * self.shrink, self.dt_min), dt)
        mixing = jnp.where(faster, mixing * self.mixing_decay, mixing)
        mixing = jnp.where(behind, self.mixing, mixing)
        back = jnp.where(behind, -0.5 * dt * v, 0)
        v = jnp.where(ahead, v, 0) + dt * forces
        v = mixed(v, forces, mixing)
        state = FireState(v, dt, mixing, downhill, jnp.ones_like(moving))
        return state, back + within_norm(dt * v, self.max_step)
