"""Base class of optimisers."""

import abc
import copy
from collections.abc import Hashable
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from ase import Atoms as AseAtoms
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_positive
from ritz.relax.algorithms.cell import CellState, FrechetCell
from ritz.relax.algorithms.stage import AbstractStage, PhasePoint, StructureState
from ritz.relax.convergence.convergence_hook import ConvergenceHook, HookLike


class OptimizerState(NamedTuple):
    """The state of an optimiser for one structure."""

    own: PyTree
    cell: CellState | tuple[()]


class AbstractOptimizer(AbstractStage):
    """Moves a structure downhill; implement `start` and `step`.

    Args:
        max_step: Largest length of a step, in Angstrom; each optimiser says how it is measured.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: Largest number of steps of a structure.
    """

    def __init__(
        self,
        max_step: float,
        cell: FrechetCell | bool | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        if convergence_hook is None:
            convergence_hook = ConvergenceHook()
        super().__init__(convergence_hook, max_steps)
        self.max_step = check_positive("max_step", max_step)
        if cell is True:
            cell = FrechetCell()
        if cell and not isinstance(cell, FrechetCell):
            raise TypeError(f"cell must be True, None or a FrechetCell, but {cell!r} was given.")
        self.cell = cell or None

    def with_cell(self, cell: FrechetCell | bool | None) -> Self:
        """A copy of this optimiser with another `cell` argument."""
        other = copy.copy(self)
        AbstractOptimizer.__init__(
            other, self.max_step, cell, self.convergence_hook, self.max_steps
        )
        return other

    @property
    @override
    def moves_cell(self) -> bool:  # type: ignore[override]
        return self.cell is not None

    @property
    @override
    def relaxes_cell(self) -> bool:  # type: ignore[override]
        return self.cell is not None

    @property
    @abc.abstractmethod
    def own_settings(self) -> Hashable:
        """Settings that `start` and `step` depend on, except `max_step`."""

    @property
    @override
    def settings(self) -> Hashable:
        return self.own_settings, self.max_step, self.cell

    @abc.abstractmethod
    def start(self, forces: Float[Array, "m 3"]) -> PyTree:
        """The state at the first step, for forces of this shape."""

    @abc.abstractmethod
    def step(
        self, state: PyTree, forces: Float[Array, "m 3"]
    ) -> tuple[PyTree, Float[Array, "m 3"]]:
        """New state, and step of shape (m, 3), zero for coordinates without forces."""

    @override
    def enter(self, now: StructureState) -> tuple[OptimizerState, jax.Array]:
        if self.cell is None:
            return OptimizerState(self.start(now.forces), ()), now.velocities
        state = self.cell.enter(now)
        return OptimizerState(self.start(self.cell.forces(state, now)), state), now.velocities

    @override
    def advance(
        self, state: OptimizerState, now: StructureState
    ) -> tuple[OptimizerState, PhasePoint]:
        if self.cell is None:
            own, change = self.step(state.own, now.forces)
            return OptimizerState(own, ()), PhasePoint(
                now.positions + change, now.velocities, now.cell
            )
        assert isinstance(state.cell, CellState)
        own, change = self.step(state.own, self.cell.forces(state.cell, now))
        cell_state, positions, cell = self.cell.move(state.cell, now, change)
        return OptimizerState(own, cell_state), PhasePoint(positions, now.velocities, cell)

    def cell_forces(self, now: StructureState) -> Float[Array, "3 3"]:
        """The residual stress, scaled as the optimiser sees it."""
        return super().cell_forces(now) if self.cell is None else self.cell.residual(now)

    @override
    def check(self, atoms: AseAtoms) -> None:
        if self.cell is not None and self.cell.mask is None and not all(atoms.pbc):
            raise ValueError(
                f"its cell cannot move: it is periodic in {int(sum(atoms.pbc))} directions of 3; "
                "give cell=FrechetCell(mask=...) with the strains that may change."
            )


def within_norm(change: jax.Array, most: float) -> jax.Array:
    """`change`, scaled down to at most `most` in the norm of all its elements."""
    norm = jnp.sqrt(jnp.sum(change**2))
    return change * jnp.where(norm > most, most / jnp.where(norm > 0, norm, 1), 1)


def within_longest(change: jax.Array, most: float) -> jax.Array:
    """`change`, scaled down so that no row is longer than `most`."""
    longest = jnp.sqrt(jnp.max(jnp.sum(change**2, axis=-1)))
    return change * jnp.where(longest > most, most / jnp.where(longest > 0, longest, 1), 1)


def mixed(velocities: jax.Array, forces: jax.Array, share: jax.Array) -> jax.Array:
    """Velocities turned towards the forces: (1 - share) v + share |v| F / |F|."""
    size = jnp.sqrt(jnp.sum(forces**2))
    speed = jnp.sqrt(jnp.sum(velocities**2))
    along = forces / jnp.where(size > 0, size, 1)
    return (1 - share) * velocities + share * speed * along
