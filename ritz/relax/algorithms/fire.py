"""FIRE, the fast inertial relaxation engine."""

import abc
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.cell import FrechetCell
from ritz.relax.algorithms.optimizer import AbstractOptimizer, mixed, within_norm
from ritz.relax.convergence.convergence_hook import HookLike


class FireState(NamedTuple):
    """The state of FIRE and FIRE2 for one structure."""

    velocities: Float[Array, "m 3"]
    dt: Float[Array, ""]
    mixing: Float[Array, ""]
    downhill: Int[Array, ""]
    """Steps since the power was last negative."""
    moving: Int[Array, ""]
    """0 at the first step, 1 afterwards."""


class AbstractFire(AbstractOptimizer, abc.ABC):
    """Base class of FIRE and FIRE2, which adapt time step and mixing alike.

    Args:
        dt: Initial time step, in units with masses of 1.
        dt_max: Largest time step.
        dt_min: Smallest time step.
        n_min: Number of steps downhill before the time step grows.
        grow: Factor by which the time step grows.
        shrink: Factor of the time step when the power F.v is negative.
        mixing: Initial fraction by which velocities are turned towards the forces.
        mixing_decay: Factor of `mixing` when the time step grows.
        settings: Arguments of `AbstractOptimizer`.
    """

    def __init__(
        self,
        dt: float,
        dt_max: float,
        dt_min: float,
        n_min: int,
        grow: float,
        shrink: float,
        mixing: float,
        mixing_decay: float,
        **settings: Any,
    ):
        super().__init__(**settings)
        self.dt = check_positive("dt", dt)
        self.dt_max = check_positive("dt_max", dt_max)
        self.dt_min = dt_min if dt_min == 0 else check_positive("dt_min", dt_min)
        self.n_min = check_count("n_min", n_min, 0)
        self.grow = check_positive("grow", grow)
        self.shrink = check_positive("shrink", shrink)
        self.mixing = check_positive("mixing", mixing)
        self.mixing_decay = check_positive("mixing_decay", mixing_decay)

    @property
    @override
    def own_settings(self) -> Hashable:
        return (
            self.dt,
            self.dt_max,
            self.dt_min,
            self.n_min,
            self.grow,
            self.shrink,
            self.mixing,
            self.mixing_decay,
        )

    @override
    def start(self, forces: Float[Array, "m 3"]) -> FireState:
        real = forces.dtype
        return FireState(
            jnp.zeros_like(forces),
            jnp.asarray(self.dt, real),
            jnp.asarray(self.mixing, real),
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    def adapted(
        self, state: FireState, faster: Bool[Array, ""], behind: Bool[Array, ""]
    ) -> tuple[jax.Array, jax.Array]:
        """Time step and mixing, adapted after steps downhill or uphill."""
        dt = jnp.where(faster, jnp.minimum(state.dt * self.grow, self.dt_max), state.dt)
        dt = jnp.where(behind, jnp.maximum(dt * self.shrink, self.dt_min), dt)
        mixing = jnp.where(faster, state.mixing * self.mixing_decay, state.mixing)
        return dt, jnp.where(behind, self.mixing, mixing)


def powers(state: FireState, forces: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether the structure goes downhill, and whether it goes uphill; neither at first."""
    started = state.moving > 0
    ahead = (jnp.sum(forces * state.velocities) > 0) & started
    return ahead, ~ahead & started


class FIRE(AbstractFire):
    """Molecular dynamics that is turned towards the forces, and stopped when it goes uphill.

    Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), with unit masses and the order of
    operations and defaults of ASE, so that both take the same steps.

    Args:
        dt: Initial time step, in units with masses of 1.
        dt_max: Largest time step.
        n_min: Number of steps downhill before the time step grows.
        grow: Factor by which the time step grows.
        shrink: Factor of the time step when the power F.v is negative.
        mixing: Initial fraction by which velocities are turned towards the forces.
        mixing_decay: Factor of `mixing` when the time step grows.
        max_step: Largest norm of a step, over all coordinates together, in Angstrom.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: Largest number of steps of a structure.
    """

    @suggests_names
    def __init__(
        self,
        dt: float = 0.1,
        dt_max: float = 1.0,
        n_min: int = 5,
        grow: float = 1.1,
        shrink: float = 0.5,
        mixing: float = 0.1,
        mixing_decay: float = 0.99,
        max_step: float = 0.2,
        cell: FrechetCell | bool | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(
            dt=dt,
            dt_max=dt_max,
            dt_min=0.0,
            n_min=n_min,
            grow=grow,
            shrink=shrink,
            mixing=mixing,
            mixing_decay=mixing_decay,
            max_step=max_step,
            cell=cell,
            convergence_hook=convergence_hook,
            max_steps=max_steps,
        )

    @override
    def step(self, state: FireState, forces: jax.Array) -> tuple[FireState, jax.Array]:
        ahead, behind = powers(state, forces)
        dt, mixing = self.adapted(state, ahead & (state.downhill > self.n_min), behind)
        v = jnp.where(ahead, mixed(state.velocities, forces, state.mixing), 0) + dt * forces
        downhill = jnp.where(ahead, state.downhill + 1, 0)
        state = FireState(v, dt, mixing, downhill, jnp.ones_like(state.moving))
        return state, within_norm(dt * v, self.max_step)
