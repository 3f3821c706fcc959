"""Fills the slots of a bucket, and refills those of structures that have finished."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ritz.full_precision import in_full_precision
from ritz.relax.algorithms.stage import FusedStage, StructureState, select
from ritz.relax.batching.batch import (
    EMPTY,
    FAILED,
    Geometry,
    Given,
    Outcome,
    PhasePoints,
    Slots,
    is_running,
    outcome,
    waiting,
)
from ritz.relax.batching.bucket import Bucket
from ritz.relax.batching.division import SlotDivision
from ritz.relax.batching.neighbors import ListSettings, NeighborLists, empty_lists, refresh


def n_slots(buckets: Sequence[Bucket], slots: int | None, max_atoms: int) -> list[int]:
    """Number of slots of each bucket: its share of the atoms, at least one."""
    counts = [len(bucket.places) for bucket in buckets]
    if slots is not None:
        return [min(slots, count) for count in counts]
    total = sum(b.n_atoms * count for b, count in zip(buckets, counts, strict=True))
    share = min(1.0, max_atoms / total)
    return [min(count, max(1, int(share * count))) for count in counts]


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))  # one program for all arrays
def first_slots(
    given: Given, n_used: int, division: SlotDivision, stages: FusedStage, settings: ListSettings
) -> tuple[Geometry, Slots]:
    """The slots before the first step, with the first structures in them.

    Args:
        given: The structures.
        n_used: Number of slots that are used; others are added, see `SlotDivision`.
        division: The devices that share the slots.
        stages: The stages of the run.
        settings: Those of the neighbour lists.
    """
    n_structures, n_atoms, _ = given.positions.shape
    real = given.positions.dtype
    n_slots = division.padded(n_used)
    member = jnp.arange(n_slots, dtype=jnp.int32)
    member = jnp.where(member < n_used, member, n_structures)
    lists = empty_lists(n_slots, n_atoms, settings, real)
    geometry, slots = fill(given, member, stages, lists, ())
    now = StructureState(
        positions=geometry.positions,
        velocities=slots.velocities,
        cell=geometry.cell,
        energy=slots.energy,
        forces=slots.forces,
        virial=slots.virial,
        masses=slots.atoms.masses,
        movable=slots.atoms.movable,
        n_atoms=jnp.sum(slots.atoms.mask, axis=-1),
        key=jax.random.split(jax.random.key(0), n_slots),
    )
    states = tuple(
        jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda n, s=s: jax.vmap(s.enter)(n)[0], now))
        for s in stages.stages
    )
    finished: Outcome | tuple[()] = ()
    if n_used < n_structures:
        n_rows = division.n_devices * n_structures
        all_positions = jnp.zeros((n_rows, n_atoms, 3), real)
        numbers = jnp.zeros(n_rows, real)
        matrices = jnp.zeros((n_rows, 3, 3), real)
        counts = jnp.zeros(n_rows, jnp.int32)
        finished = Outcome(
            at=PhasePoints(Geometry(all_positions, matrices), all_positions),
            energy=numbers,
            forces=all_positions,
            virial=matrices,
            fmax=numbers,
            status=jnp.full(n_rows, EMPTY, jnp.int32),
            steps=counts,
        )
    status = jnp.where(member < n_structures, slots.status, EMPTY)
    next_one = jnp.asarray(n_used, jnp.int32)
    return geometry, slots._replace(stages=states, finished=finished, status=status, next=next_one)


def widened(slots: Slots, width: int) -> Slots:
    """The slots with capacity for `width` neighbours per atom, no list marked as too small."""
    lists = slots.lists
    more = width - lists.neighbors.shape[-1]
    return slots._replace(
        lists=lists._replace(
            neighbors=jnp.pad(lists.neighbors, ((0, 0), (0, 0), (0, more))),
            shifts=jnp.pad(lists.shifts, ((0, 0), (0, 0), (0, more), (0, 0))),
            overflow=jnp.zeros_like(lists.overflow),
        )
    )


def failed(slots: Slots, geometry: Geometry, rows: Sequence[int]) -> Slots:
    """The slots, with the structures in some of them marked as failed before an evaluation."""
    fails = jnp.zeros(len(slots.member), bool).at[jnp.asarray(rows)].set(True)
    unknown = jnp.where(fails, jnp.nan, slots.energy)
    return slots._replace(
        at=select(fails, PhasePoints(geometry, slots.velocities), slots.at),
        energy=unknown.astype(slots.energy.dtype),
        fmax=jnp.where(fails, jnp.inf, slots.fmax).astype(slots.fmax.dtype),
        status=jnp.where(fails, FAILED, slots.status).astype(slots.status.dtype),
        lists=slots.lists._replace(overflow=slots.lists.overflow & ~fails),
    )


def made_from(lists: NeighborLists) -> tuple[jax.Array, ...]:
    """Positions, cells and marks from which the lists can be rebuilt bit for bit."""
    return lists.positions, lists.cell, lists.stale, lists.overflow


_refresh = jax.jit(in_full_precision(refresh), static_argnames="settings")


def with_lists(slots: Slots, made_from: Sequence[jax.Array], settings: ListSettings) -> Slots:
    """Slots with neighbour lists that are rebuilt from the result of `made_from`."""
    positions, cell, stale, overflow = made_from
    n_slots, n_atoms, _ = positions.shape
    lists = empty_lists(n_slots, n_atoms, settings, positions.dtype)
    made = _refresh(
        lists,
        positions,
        cell,
        pbc=slots.atoms.pbc,
        mask=slots.atoms.mask,
        active=~stale,
        settings=settings,
    )
    made = made._replace(
        positions=jnp.asarray(positions),
        cell=jnp.asarray(cell),
        stale=jnp.asarray(stale),
        overflow=jnp.asarray(overflow),
    )
    return slots._replace(lists=made)


def fill(
    given: Given,
    member: jax.Array,
    stages: FusedStage,
    lists: NeighborLists,
    states: tuple[PyTree, ...],
) -> tuple[Geometry, Slots]:
    """Slots that hold the structures `member`, before their first step."""
    take = jnp.minimum(member, len(given.place) - 1)
    atoms = jax.tree.map(lambda x: x[take], given.atoms)
    geometry = Geometry(given.positions[take], given.cell[take])
    n_slots, real = len(member), given.positions.dtype
    nothing = jnp.zeros(n_slots, jnp.int32)
    forces = jnp.zeros_like(geometry.positions)
    return geometry, Slots(
        member=member,
        atoms=atoms,
        velocities=given.velocities[take],
        at=PhasePoints(geometry, given.velocities[take]),
        energy=jnp.full(n_slots, jnp.inf, real),
        forces=forces,
        virial=jnp.zeros((n_slots, 3, 3), real),
        fmax=jnp.full(n_slots, jnp.inf, real),
        status=nothing,
        steps=nothing,
        stage_steps=nothing,
        stages=states,
        counters=jnp.zeros((n_slots, len(stages.all_hooks)), jnp.int32),
        lists=lists,
        next=jnp.asarray(n_slots, jnp.int32),
        finished=(),
    )


def select_slots(chosen: jax.Array, new: Slots, old: Slots) -> Slots:
    """Slots from `new` where `chosen`, else from `old`; arrays that are not per slot stay."""
    bare = {"next": (), "lists": ()}
    picked = select(chosen, new._replace(**bare), old._replace(**bare))
    return picked._replace(next=old.next, lists=old.lists)


def with_counters(slots: Slots, n_hooks: int) -> Slots:
    """The slots with a counter for each of `n_hooks` hooks; new counters are zero."""
    more = n_hooks - slots.counters.shape[1]
    return slots._replace(counters=jnp.pad(slots.counters, ((0, 0), (0, more))))


def free_slots(slots: Slots, n_structures: int, n_stages: int) -> jax.Array:
    """The slots that a waiting structure may enter."""
    return ~is_running(slots, n_stages) & (slots.member < n_structures)


def refilled(
    stages: FusedStage,
    geometry: Geometry,
    slots: Slots,
    given: Given,
    ahead: jax.Array,
    n_free: jax.Array,
) -> tuple[Geometry, Slots]:
    """Let waiting structures into the slots of those that have ended.

    Args:
        stages: The stages of the run.
        geometry: The structures in the slots.
        slots: The slots of this device.
        given: All structures.
        ahead: Number of free slots of the devices before this one.
        n_free: Number of free slots of all devices.
    """
    n_structures = len(given.place)
    if isinstance(slots.finished, tuple) and not slots.finished:
        return geometry, slots
    free = free_slots(slots, n_structures, len(stages))

    def refill(geometry: Geometry, slots: Slots) -> tuple[Geometry, Slots]:
        rank = ahead + jnp.cumsum(free).astype(slots.next.dtype)
        new = slots.next + rank - 1
        enters = free & (new < n_structures)
        # Results of leaving structures go to their rows; other indices are out of bounds, dropped.
        leaves = jnp.where(enters, slots.member, n_structures)
        finished = jax.tree.map(
            lambda all, own: all.at[leaves].set(own, mode="drop"), slots.finished, outcome(slots)
        )
        member = jnp.where(enters, new, slots.member)
        entering, fresh = fill(given, member, stages, slots.lists, slots.stages)
        geometry = select(enters, entering, geometry)
        fresh = fresh._replace(next=slots.next, finished=())
        kept = slots._replace(finished=(), lists=slots.lists)
        lists = slots.lists._replace(
            stale=slots.lists.stale | enters, overflow=slots.lists.overflow & ~enters
        )
        changed = select_slots(enters, fresh, kept)
        return geometry, changed._replace(lists=lists, finished=finished)

    wanted = jnp.any(free) & (slots.next < n_structures)
    n_entered = jnp.minimum(n_free, waiting(slots, n_structures)).astype(slots.next.dtype)
    geometry, found = jax.lax.cond(wanted, refill, lambda *unchanged: unchanged, geometry, slots)
    return geometry, found._replace(next=slots.next + n_entered)
