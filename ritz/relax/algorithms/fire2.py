"""FIRE 2.0."""

import jax
import jax.numpy as jnp
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.cell import FrechetCell
from ritz.relax.algorithms.fire import AbstractFire, FireState, powers
from ritz.relax.algorithms.optimizer import mixed, within_norm
from ritz.relax.convergence.convergence_hook import HookLike


class FIRE2(AbstractFire):
    """FIRE with a semi-implicit integration and half a step back when it goes uphill.

    Guenole et al., Comput. Mater. Sci. 175, 109584 (2020), with unit masses and the defaults of
    ASE. There is one force evaluation per step: the kick after half a step back uses the forces
    from before it, where ASE evaluates them again.

    Args:
        dt: Initial time step, in units with masses of 1.
        dt_max: Largest time step.
        dt_min: Smallest time step.
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
        dt_min: float = 2e-3,
        n_min: int = 20,
        grow: float = 1.1,
        shrink: float = 0.5,
        mixing: float = 0.25,
        mixing_decay: float = 0.99,
        max_step: float = 0.2,
        cell: FrechetCell | bool | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(
            dt=dt,
            dt_max=dt_max,
            dt_min=dt_min,
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
        downhill = jnp.where(ahead, state.downhill + 1, 0)
        dt, mixing = self.adapted(state, ahead & (downhill > self.n_min), behind)
        back = jnp.where(behind, -0.5 * dt * state.velocities, 0)
        v = mixed(jnp.where(ahead, state.velocities, 0) + dt * forces, forces, mixing)
        state = FireState(v, dt, mixing, downhill, jnp.ones_like(state.moving))
        return state, back + within_norm(dt * v, self.max_step)
