"""What a device does in a step of batched relaxation and dynamics, as pure functions."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ritz.potentials.potential import AbstractPotential, Evaluated
from ritz.relax.algorithms.integrator import temperature_of
from ritz.relax.algorithms.matrices import volume
from ritz.relax.algorithms.stage import FusedStage, PhasePoint, StructureState, select
from ritz.relax.batching.batch import (
    FAILED,
    UNCERTAIN,
    Geometry,
    Given,
    Outcome,
    PhasePoints,
    Slots,
    is_running,
)
from ritz.relax.batching.division import SlotDivision
from ritz.relax.batching.neighbors import ListSettings, refresh
from ritz.relax.batching.slots import free_slots, refilled
from ritz.relax.evaluation import Needs, evaluated_slots
from ritz.relax.observation.quantities import EXPECTED_ERRORS, VIRIAL, Observables
from ritz.relax.observation.rows import row
from ritz.relax.observation.statuses import statuses
from ritz.types import Row


class RelaxCarry(NamedTuple):
    """All that the next step needs, by bucket."""

    params: tuple[Geometry, ...]
    slots: tuple[Slots, ...]
    pauses: Bool[Array, ""] | bool = False
    """Whether, in this step, a neighbour list did not fit or nothing was left to do."""


class Verdict(NamedTuple):
    """Results of a step for one bucket, before anything moves."""

    evaluated: Evaluated
    fmax: Float[Array, " slots"]
    velocities: Float[Array, "slots n 3"]
    """Velocities at the time of the positions."""
    active: Bool[Array, " slots"]
    """Which structures were evaluated."""
    status: Int[Array, " slots"]
    """New status of each structure."""
    counters: Int[Array, "slots hooks"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SlotSteps:
    """What each device does with its slots; see `RelaxKernel`."""

    potential: AbstractPotential
    given: tuple[Given, ...]
    key: Key[Array, ""]
    stages: FusedStage = dataclasses.field(metadata={"static": True})
    lists: tuple[ListSettings, ...] = dataclasses.field(metadata={"static": True})
    """Neighbour-list settings of each bucket."""
    highest: float = dataclasses.field(default=math.inf, metadata={"static": True})
    """The temperature, in K, above which structures fail, see `highest_temperature`."""
    division: SlotDivision = dataclasses.field(
        default_factory=SlotDivision, metadata={"static": True}
    )
    """Devices that share the slots."""

    @property
    def needs_virial(self) -> bool:
        """Whether a stage or criterion needs the virial."""
        moves = any(s.moves_cell for s in self.stages.stages)
        return moves or not self._asked.isdisjoint(VIRIAL)

    @property
    def needs_spread(self) -> bool:
        """Whether a criterion needs the errors that a committee expects."""
        return not self._asked.isdisjoint(EXPECTED_ERRORS)

    @property
    def _asked(self) -> set[str]:
        return {c.key for hook in self.stages.all_hooks for c in hook.criteria}

    @property
    def integrates(self) -> bool:
        """Whether any stage moves structures in time."""
        return any(stage.integrates for stage in self.stages.stages)

    # Before a step: refill the slots, renew the neighbour lists.

    def own_sample(self, carry: RelaxCarry) -> RelaxCarry:
        """Let waiting structures in, and renew neighbour lists that are outdated."""
        ahead = n_free = jnp.zeros(len(self.given), jnp.int32)
        if any(isinstance(slots.finished, Outcome) for slots in carry.slots):
            free = [
                jnp.sum(free_slots(slots, len(given.place), len(self.stages)), dtype=jnp.int32)
                for slots, given in zip(carry.slots, self.given, strict=True)
            ]
            ahead, n_free = self.division.ranks(jnp.stack(free))
        found = []
        for place, (geometry, slots) in enumerate(zip(carry.params, carry.slots, strict=True)):
            entered, own = refilled(
                self.stages,
                geometry,
                slots,
                given=self.given[place],
                ahead=ahead[place],
                n_free=n_free[place],
            )
            found.append((entered, self._with_lists(entered, own, self.lists[place])))
        geometries, slots = zip(*found, strict=True)
        return RelaxCarry(geometries, slots, carry.pauses)

    def _with_lists(self, geometry: Geometry, slots: Slots, settings: ListSettings) -> Slots:
        lists = refresh(
            slots.lists,
            geometry.positions,
            geometry.cell,
            pbc=slots.atoms.pbc,
            mask=slots.atoms.mask,
            active=is_running(slots, len(self.stages)),
            settings=settings,
        )
        return slots._replace(lists=lists)

    def own_propose(
        self, carry: RelaxCarry
    ) -> tuple[tuple[jax.Array, tuple[Verdict, ...], Row], jax.Array]:
        """The loss, what becomes of each structure, and the row; and whether to pause."""
        verdicts, observables = [], []
        for geometry, slots, given in zip(carry.params, carry.slots, self.given, strict=True):
            verdict, view = self._judge(geometry, slots, given)
            verdicts.append(verdict)
            observables.append(view)
        shown = ["temperature"] * self.integrates + ["volume", "pressure"] * self.needs_virial
        shown += [*EXPECTED_ERRORS] * self.needs_spread
        hooks = self.stages.all_hooks
        ended = [verdict.status for verdict in verdicts]
        loss, metrics, pauses = row(
            slots=carry.slots,
            given=self.given,
            observables=observables,
            active=[verdict.active for verdict in verdicts],
            statuses=ended,
            n_stages=len(self.stages),
            shown=shown,
            watched=any(hook.target_status == UNCERTAIN for hook in hooks),
            division=self.division,
        )
        return (loss, tuple(verdicts), metrics), pauses

    def _judge(self, geometry: Geometry, slots: Slots, given: Given) -> tuple[Verdict, Observables]:
        active = is_running(slots, len(self.stages)) & ~slots.lists.overflow
        evaluated, spread = evaluated_slots(
            self.potential,
            geometry,
            slots,
            active,
            needs=Needs(virial=self.needs_virial, spread=self.needs_spread),
            is_alone=len(self.given) == 1,
        )
        now = self._now(geometry, slots, given, evaluated)
        velocities = self._full_velocities(slots, now, active)
        now = now._replace(velocities=velocities)
        fmax = jnp.where(active, self._fmax(slots, now), slots.fmax)
        observables = Observables(
            geometry=geometry,
            atoms=slots.atoms,
            velocities=velocities,
            energy=evaluated.energy,
            last_energy=slots.energy,
            forces=now.forces,
            virial=evaluated.virial,
            fmax=fmax,
            steps=slots.steps,
            expected_error=spread,
        )
        finite = jnp.isfinite(evaluated.energy) & jnp.all(jnp.isfinite(now.forces), axis=(1, 2))
        finite &= jnp.isfinite(fmax)
        if math.isfinite(self.highest):
            finite &= temperature_of(observables.kinetic, slots.atoms.movable) <= self.highest
        status, counters = statuses(self.stages, slots, observables, active, finite)
        return Verdict(
            evaluated=evaluated,
            fmax=fmax,
            velocities=velocities,
            active=active,
            status=status,
            counters=counters,
        ), observables

    def _now(
        self, geometry: Geometry, slots: Slots, given: Given, evaluated: Evaluated
    ) -> StructureState:
        def key(place: jax.Array, step: jax.Array) -> jax.Array:
            return jax.random.fold_in(jax.random.fold_in(self.key, place), step)

        keys = jax.vmap(key)(given.place[slots.member], slots.steps)
        atoms = slots.atoms
        return StructureState(
            positions=geometry.positions,
            velocities=slots.velocities,
            cell=geometry.cell,
            energy=evaluated.energy,
            forces=jnp.where(atoms.movable, evaluated.forces, 0),
            virial=evaluated.virial,
            masses=atoms.masses,
            movable=atoms.movable,
            n_atoms=jnp.sum(atoms.mask, axis=-1),
            key=keys,
        )

    def _full_velocities(self, slots: Slots, now: StructureState, active: jax.Array) -> jax.Array:
        found = slots.velocities
        for place, stage in enumerate(self.stages.stages):
            if stage.integrates:
                mine = active & (slots.status == place) & (slots.stage_steps > 0)
                own = jax.vmap(stage.velocities)(slots.stages[place], now)
                found = select(mine, own, found)
        return found

    def _fmax(self, slots: Slots, now: StructureState) -> jax.Array:
        squared = jnp.max(jnp.sum(now.forces**2, axis=-1), axis=-1)
        for place, stage in enumerate(self.stages.stages):
            if stage.relaxes_cell:
                rows = jnp.sum(jax.vmap(stage.cell_forces)(now) ** 2, axis=-1)
                mine = slots.status == place
                squared = jnp.where(mine, jnp.maximum(squared, jnp.max(rows, -1)), squared)
        return jnp.sqrt(squared)

    def own_apply(self, carry: RelaxCarry, update: tuple[Verdict, ...]) -> RelaxCarry:
        """Move the structures that go on."""
        moved = [
            self._move(geometry, slots, given, verdict)
            for geometry, slots, given, verdict in zip(
                carry.params, carry.slots, self.given, update, strict=True
            )
        ]
        geometries, slots = zip(*moved, strict=True)
        return RelaxCarry(geometries, slots, carry.pauses)

    def _move(
        self, geometry: Geometry, slots: Slots, given: Given, verdict: Verdict
    ) -> tuple[Geometry, Slots]:
        n_stages = len(self.stages)
        entered = verdict.status != slots.status
        at = PhasePoints(geometry, verdict.velocities)
        slots = slots._replace(
            at=select(verdict.active, at, slots.at),
            energy=verdict.evaluated.energy,
            forces=verdict.evaluated.forces,
            virial=verdict.evaluated.virial,
            fmax=verdict.fmax,
            status=verdict.status,
            velocities=select(verdict.active, verdict.velocities, slots.velocities),
            counters=verdict.counters,
            stage_steps=jnp.where(entered, 0, slots.stage_steps),
        )
        goes_on = verdict.active & is_running(slots, n_stages)
        now = self._now(geometry, slots, given, verdict.evaluated)
        moved = PhasePoint(geometry.positions, slots.velocities, geometry.cell)
        states = list(slots.stages)
        for place, stage in enumerate(self.stages.stages):
            mine = goes_on & (slots.status == place)
            first = slots.stage_steps == 0
            fresh, velocities = jax.vmap(stage.enter)(now)
            state = select(first, fresh, slots.stages[place])
            own = now._replace(velocities=select(first, velocities, now.velocities))
            state, there = jax.vmap(stage.advance)(state, own)
            states[place] = select(mine, state, slots.stages[place])
            moved = select(mine, there, moved)
        return self._settle(geometry, slots, moved, goes_on, tuple(states))

    def _settle(
        self,
        geometry: Geometry,
        slots: Slots,
        moved: PhasePoint,
        goes_on: jax.Array,
        states: tuple[PyTree, ...],
    ) -> tuple[Geometry, Slots]:
        """Accept the new positions of structures where they are finite."""
        finite = jnp.all(jnp.isfinite(moved.positions), axis=(1, 2))
        finite &= jnp.all(jnp.isfinite(moved.cell), axis=(1, 2))
        if any(stage.moves_cell for stage in self.stages.stages):
            finite &= volume(moved.cell) > 0
        lost = goes_on & ~finite
        goes_on &= finite
        new = select(goes_on, Geometry(moved.positions, moved.cell), geometry)
        one = goes_on.astype(slots.steps.dtype)
        return new, slots._replace(
            velocities=select(goes_on, moved.velocities, slots.velocities),
            status=jnp.where(lost, FAILED, slots.status).astype(slots.status.dtype),
            stages=states,
            steps=slots.steps + one,
            stage_steps=slots.stage_steps + one,
        )

    # Between steps.

    def own_present(self, carry: RelaxCarry) -> tuple[RelaxCarry, tuple[Outcome, ...]]:
        """Evaluate structures where they are; nothing moves."""
        found, kept = [], []
        for geometry, slots, given, settings in zip(
            carry.params, carry.slots, self.given, self.lists, strict=True
        ):
            own = self._with_lists(geometry, slots, settings)
            verdict, _ = self._judge(geometry, own, given)
            at = select(verdict.active, PhasePoints(geometry, verdict.velocities), own.at)
            evaluated = verdict.evaluated
            found.append(
                Outcome(
                    at=at,
                    energy=evaluated.energy,
                    forces=evaluated.forces,
                    virial=evaluated.virial,
                    fmax=verdict.fmax,
                    status=own.status,
                    steps=own.steps,
                )
            )
            kept.append(own)
        return carry._replace(slots=tuple(kept)), tuple(found)
