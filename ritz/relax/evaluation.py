"""Energies and forces of the structures in the slots of a bucket."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.committee import AbstractCommittee, Spread, evaluate_with_spread
from ritz.potentials.potential import AbstractPotential, Evaluated, evaluate
from ritz.relax.algorithms.stage import select
from ritz.relax.batching.at_once import structures_at_once
from ritz.relax.batching.batch import Atoms, Geometry, Slots
from ritz.relax.batching.neighbors import entries, vectors
from ritz.updates.chunks import mapped


class Needs(NamedTuple):
    """What is computed besides energies and forces."""

    virial: bool
    spread: bool
    """Whether the errors that a committee expects are needed."""


def evaluated_slots(
    potential: AbstractPotential,
    geometry: Geometry,
    slots: Slots,
    active: jax.Array,
    *,
    needs: Needs,
    is_alone: bool,
) -> tuple[Evaluated, Spread | None]:
    """Energies, forces and virials by slot, and expected errors; None where these are not needed.

    Slots that are not active have the last results, and expected errors of zero.

    Args:
        potential: The potential; a committee where its expected errors are needed.
        geometry: The structures in the slots.
        slots: The slots.
        active: Which of them are evaluated, shape (n_slots,).
        needs: What is needed besides.
        is_alone: Whether there is no other bucket, so that some slot is always active.
    """
    none = jnp.zeros_like(slots.energy)
    spread = Spread(none, none) if needs.spread else None
    last = Evaluated(slots.energy, slots.forces, slots.virial), spread

    def one(
        given: tuple[Geometry, Atoms, jax.Array, jax.Array, jax.Array],
    ) -> tuple[Evaluated, Spread | None]:
        geometry, atoms, neighbors, shifts, pairs = given
        structure = AtomicGraph(
            positions=geometry.positions,
            cell=geometry.cell,
            pbc=atoms.pbc,
            numbers=atoms.numbers,
            mask=atoms.mask,
            neighbors=neighbors,
            vectors=vectors(geometry.positions, geometry.cell, neighbors, shifts),
            pairs=pairs,
        )
        if not needs.spread:
            return evaluate(potential, structure, needs.virial), None
        assert isinstance(potential, AbstractCommittee)
        return evaluate_with_spread(potential, structure, needs.virial)

    def compute() -> tuple[Evaluated, Spread | None]:
        lists = slots.lists
        all_given = geometry, slots.atoms, lists.neighbors, lists.shifts, entries(lists)
        n_slots, n_atoms, width = lists.neighbors.shape
        itemsize = geometry.positions.dtype.itemsize
        at_once = structures_at_once(n_slots, n_atoms * width, itemsize)
        found = mapped(one, all_given, at_once)
        found = jax.tree.map(lambda new, old: new.astype(old.dtype), found, last)
        return select(active, found, last)

    if is_alone:
        return compute()
    return jax.lax.cond(jnp.any(active), compute, lambda: last)
