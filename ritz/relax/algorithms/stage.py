"""The contract of optimisers and integrators, and their composition by `+`."""

import abc
import copy
import functools
from collections.abc import Hashable
from typing import NamedTuple, Self, TypeVar

import jax
import jax.numpy as jnp
from ase import Atoms as AseAtoms
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ritz.checks import check_count
from ritz.driver.signatures import suggests_names
from ritz.relax.convergence.convergence_hook import ConvergenceHook, HookLike

Tree = TypeVar("Tree")
"""A tree of arrays."""


class StructureState(NamedTuple):
    """One structure at a step, after its energy and forces were evaluated: what a stage gets."""

    positions: Float[Array, "n 3"]
    """In Angstrom."""
    velocities: Float[Array, "n 3"]
    """Velocities in Angstrom / (Angstrom sqrt(amu/eV)), ASE's unit, shape (n_atoms, 3)."""
    cell: Float[Array, "3 3"]
    """Lattice vectors as rows, in Angstrom."""
    energy: Float[Array, ""]
    """In eV."""
    forces: Float[Array, "n 3"]
    """Forces in eV/Angstrom, shape (n_atoms, 3); zero where an atom may not move."""
    virial: Float[Array, "3 3"]
    """Derivative of the energy by strain, in eV."""
    masses: Float[Array, " n"]
    """Masses in amu; 1 in padding."""
    movable: Bool[Array, "n 3"]
    """Which coordinates are not held by a constraint."""
    n_atoms: Int[Array, ""]
    """Number of atoms, without padding."""
    key: Key[Array, ""]
    """Random key of this structure and step."""


class PhasePoint(NamedTuple):
    """Positions, velocities and cell of one structure after a step of a stage."""

    positions: Float[Array, "n 3"]
    velocities: Float[Array, "n 3"]
    cell: Float[Array, "3 3"]


class AbstractStage(abc.ABC):
    """An optimiser or integrator: pure functions that move one structure by one step.

    `a + b` makes a `FusedStage`, in which structures go from one stage to the next. A stage is
    never changed; `with_max_steps` and `with_hook` make another.

    Args:
        convergence_hook: Criteria by which structures leave the stage; a `ConvergenceHook` or a
            dict of its arguments.
        max_steps: Largest number of steps of a structure in this stage. Then it goes on to the next
            stage, or leaves the last one, unconverged if the stage has criteria.
    """

    moves_cell: bool = False
    """Whether cells change, and the virial is needed."""

    relaxes_cell: bool = False
    """Whether the forces on cells, `cell_forces`, must vanish too."""

    integrates: bool = False
    """Whether this is an integrator, so that structures have a temperature."""

    def __init__(self, convergence_hook: HookLike | None, max_steps: int | None):
        hook = convergence_hook
        self.convergence_hook = None if hook is None else ConvergenceHook.of(hook)
        if max_steps is not None:
            check_count("max_steps", max_steps, 0)
        self.max_steps = max_steps

    @property
    @abc.abstractmethod
    def settings(self) -> Hashable:
        """Settings that the functions depend on, as numbers, strings, None and tuples of them."""

    @abc.abstractmethod
    def enter(self, now: StructureState) -> tuple[PyTree, Float[Array, "n 3"]]:
        """Initial state of a structure that enters the stage, and its velocities."""

    @abc.abstractmethod
    def advance(self, state: PyTree, now: StructureState) -> tuple[PyTree, PhasePoint]:
        """Move one structure by one step; a pure function of JAX."""

    def velocities(self, state: PyTree, now: StructureState) -> Float[Array, "n 3"]:
        """The velocities at the time of the positions; `advance` may leave them half a kick back.

        Not called at a structure's first step in the stage.
        """
        return now.velocities

    def cell_forces(self, now: StructureState) -> Float[Array, "3 3"]:
        """Forces on the cell, shape (3, 3); rows count in "fmax" if the stage relaxes cells."""
        return jnp.zeros_like(now.cell)

    def check(self, atoms: AseAtoms) -> None:  # noqa: B027 - most can treat all
        """Refuse a structure that the stage cannot treat.

        Raises:
            ValueError: If it cannot be treated, with the reason.
        """

    @property
    def name(self) -> str:
        """Name of the stage in messages: that of its class."""
        return type(self).__name__

    def with_max_steps(self, max_steps: int | None) -> Self:
        """A copy of this stage with another `max_steps`."""
        other = copy.copy(self)
        AbstractStage.__init__(other, self.convergence_hook, max_steps)
        return other

    def with_hook(self, convergence_hook: HookLike | None) -> Self:
        """A copy of this stage with another `convergence_hook`."""
        other = copy.copy(self)
        AbstractStage.__init__(other, convergence_hook, self.max_steps)
        return other

    def __add__(self, other: "AbstractStage | FusedStage") -> "FusedStage":
        if not isinstance(other, AbstractStage | FusedStage):
            return NotImplemented
        return FusedStage(self, other)

    def _key(self) -> Hashable:
        hook = self.convergence_hook
        return type(self), self.settings, self.max_steps, None if hook is None else hook.rule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbstractStage) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{self.name}({self.settings})"


class FusedStage:
    """Stages through which each structure goes at its own pace, with one force evaluation a step.

    A structure's status is the number of the stage it is in, counted from 0, and the number of
    stages, `exit_status`, when it has left the last one. `a + (b + c)` is `(a + b) + c`.

    Between adjacent stages there is a convergence hook: the first one's own, which moves a
    structure that meets its criteria to the next stage. Optimisers without one get fmax <= 0.05.

    Args:
        stages: Optimisers, integrators, and fused stages.
        hooks: Further hooks, see `register_hook`.

    Raises:
        TypeError: If something else is given.
        ValueError: If structures would never leave a stage that is not the last.
    """

    @suggests_names
    def __init__(
        self, *stages: "AbstractStage | FusedStage", hooks: tuple[ConvergenceHook, ...] = ()
    ):
        flat: list[AbstractStage] = []
        shifted = list(hooks)
        for stage in stages:
            if isinstance(stage, FusedStage):
                shifted += [_shifted(hook, len(flat)) for hook in stage.hooks]
                flat += stage.stages
            elif isinstance(stage, AbstractStage):
                flat.append(stage)
            else:
                raise TypeError(
                    f"a stage is an optimiser or integrator such as FIRE(), but {stage!r} was "
                    "given."
                )
        if not flat:
            raise ValueError("a FusedStage needs at least one stage.")
        self.stages = tuple(flat)
        self.hooks = tuple(shifted)
        for place, stage in enumerate(self.stages[:-1]):
            leaves = any(h.source_status in (place, None) for h in self.hooks)
            if stage.convergence_hook is None and stage.max_steps is None and not leaves:
                raise ValueError(
                    f"structures would never leave stage {place}, {stage.name}; give it max_steps "
                    "or a convergence_hook."
                )

    @property
    def exit_status(self) -> int:
        """The status of structures that have left the last stage."""
        return len(self.stages)

    @property
    def exit_name(self) -> str:
        """The word for structures that have left the last stage, in messages and results.

        "converged" if a criterion leads out of the stages; "done" if a number of steps alone does,
        as in dynamics. Rows count both as `converged`.
        """
        meets = any(hook.target_status == self.exit_status for hook in self.all_hooks)
        return "converged" if meets else "done"

    @functools.cached_property
    def all_hooks(self) -> tuple[ConvergenceHook, ...]:
        """The hooks between the stages, and those that were registered; their statuses filled."""
        found = []
        for place, stage in enumerate(self.stages):
            hook = stage.convergence_hook
            if hook is None:
                continue
            source, target = hook.source_status, hook.target_status
            found.append(
                _placed(
                    hook,
                    place if source is None else source,
                    place + 1 if target is None else target,
                )
            )
        for hook in self.hooks:
            target = hook.target_status
            if target is None:
                target = self.exit_status if hook.source_status is None else hook.source_status + 1
            found.append(_placed(hook, hook.source_status, target))
        for hook in found:
            self._check(hook)
        return tuple(found)

    def _check(self, hook: ConvergenceHook) -> None:
        n = self.exit_status
        source, target = hook.source_status, hook.target_status
        if source is not None and source >= n:
            raise ValueError(
                f"source_status must be a stage, 0 to {n - 1}, but {source} was given."
            )
        if target is None or target > n:
            raise ValueError(
                f"target_status must be a stage or {n}, the exit, but {target} was given."
            )

    def register_hook(self, hook: HookLike) -> "FusedStage":
        """A copy with one more convergence hook.

        Without a `source_status` it looks at structures in all stages; without a `target_status`
        those that converge go to the stage after the source, or leave.
        """
        return FusedStage(*self.stages, hooks=(*self.hooks, ConvergenceHook.of(hook)))

    def __add__(self, other: "AbstractStage | FusedStage") -> "FusedStage":
        if not isinstance(other, AbstractStage | FusedStage):
            return NotImplemented
        return FusedStage(self, other)

    def __len__(self) -> int:
        return len(self.stages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FusedStage) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._identity)

    @functools.cached_property
    def _identity(self) -> Hashable:
        return self.stages, tuple(hook.rule for hook in self.all_hooks)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.stages))


def fused(stages: AbstractStage | FusedStage) -> FusedStage:
    """A stage, or stages, as one `FusedStage`."""
    return stages if isinstance(stages, FusedStage) else FusedStage(stages)


def _shifted(hook: ConvergenceHook, by: int) -> ConvergenceHook:
    source, target = hook.source_status, hook.target_status
    if target is not None and target >= 0:  # others are no stages
        target += by
    return _placed(hook, None if source is None else source + by, target)


def _placed(hook: ConvergenceHook, source: int | None, target: int | None) -> ConvergenceHook:
    other = copy.copy(hook)
    other.source_status, other.target_status = source, target
    return other


def select(chosen: jax.Array, new: Tree, old: Tree) -> Tree:
    """For each slot, the leaves of `new` where `chosen`, otherwise those of `old`."""

    def pick(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)
