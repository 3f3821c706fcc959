"""L-BFGS, the quasi-Newton method with limited memory."""

from collections.abc import Hashable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.cell import FrechetCell
from ritz.relax.algorithms.optimizer import AbstractOptimizer, within_longest
from ritz.relax.convergence.convergence_hook import HookLike

_CURVATURE = 1e-8
"""Pairs with s.y below this times |s||y| are dropped, since their curvature is not positive."""


class LBFGSState(NamedTuple):
    """The pairs of one structure; those with `weights` 0 are not used."""

    steps: Float[Array, "memory m 3"]
    """s, the changes of the coordinates, newest first."""
    changes: Float[Array, "memory m 3"]
    """y, the changes of the gradient."""
    weights: Float[Array, " memory"]
    """1 / (s . y)."""
    last_step: Float[Array, "m 3"]
    last_forces: Float[Array, "m 3"]
    n_steps: Int[Array, ""]


class LBFGS(AbstractOptimizer):
    """The two-loop recursion on the last pairs of steps and gradient changes, without line search.

    Nocedal, Math. Comput. 35, 773 (1980); the first guess of the Hessian and the longest step as
    in ASE. Pairs with no positive curvature are left out, so that steps always go downhill.

    Args:
        memory: Number of pairs kept.
        hessian: Initial Hessian, as a multiple of the unit matrix, in eV/Angstrom^2.
        max_step: The longest step of any atom, in Angstrom; all are scaled with it.
        damping: Factor of the steps.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: Largest number of steps of a structure.
    """

    @suggests_names
    def __init__(
        self,
        memory: int = 20,
        hessian: float = 70.0,
        max_step: float = 0.2,
        damping: float = 1.0,
        cell: FrechetCell | bool | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(max_step, cell, convergence_hook, max_steps)
        self.memory = check_count("memory", memory, 1)
        self.hessian = check_positive("hessian", hessian)
        self.damping = check_positive("damping", damping)

    @property
    @override
    def own_settings(self) -> Hashable:
        return self.memory, self.hessian, self.damping

    @override
    def start(self, forces: Float[Array, "m 3"]) -> LBFGSState:
        nothing = jnp.zeros_like(forces)
        pairs = jnp.zeros((self.memory, *forces.shape), forces.dtype)
        weights = jnp.zeros(self.memory, forces.dtype)
        return LBFGSState(
            steps=pairs,
            changes=pairs,
            weights=weights,
            last_step=nothing,
            last_forces=nothing,
            n_steps=jnp.zeros((), jnp.int32),
        )

    @override
    def step(self, state: LBFGSState, forces: jax.Array) -> tuple[LBFGSState, jax.Array]:
        state = self._remember(state, forces)

        def down(residual: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            s, y, weight = pair
            share = weight * jnp.sum(s * residual)
            return residual - share * y, share

        def up(direction: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            s, y, weight, share = pair
            return direction + s * (share - weight * jnp.sum(y * direction)), None

        pairs = (state.steps, state.changes, state.weights)
        residual, shares = jax.lax.scan(down, forces, pairs)
        direction, _ = jax.lax.scan(up, residual / self.hessian, (*pairs, shares), reverse=True)
        change = self.damping * within_longest(direction, self.max_step)
        return state._replace(last_step=change, last_forces=forces, n_steps=state.n_steps + 1), (
            change
        )

    def _remember(self, state: LBFGSState, forces: jax.Array) -> LBFGSState:
        s, y = state.last_step, state.last_forces - forces
        product = jnp.sum(s * y)
        sizes = jnp.sqrt(jnp.sum(s**2) * jnp.sum(y**2))
        useful = (state.n_steps > 0) & (product > _CURVATURE * sizes)
        weight = jnp.where(useful, 1 / jnp.where(useful, product, 1), 0)

        def push(pairs: jax.Array, newest: jax.Array) -> jax.Array:
            shifted = jnp.concatenate([newest[None], pairs[:-1]])
            return jnp.where(useful, shifted, pairs)

        return state._replace(
            steps=push(state.steps, s),
            changes=push(state.changes, y),
            weights=push(state.weights, weight),
        )
