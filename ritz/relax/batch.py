"""The arrays of a batch: what was given, what is in the slots, and what has been finished."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ritz.relax.neighbors import NeighborLists

FAILED = -1
"""The status of structures whose energy, forces or criteria are not finite."""

UNCONVERGED = -2
"""The status of structures that have used up their steps without meeting the criteria."""

EMPTY = -3
"""The status of slots without a structure, and of structures that wait for a slot."""


class Atoms(NamedTuple):
    """What stays the same for a structure; the first axis is the structure, or the slot."""

    numbers: Int[Array, "slots n"]
    masses: Float[Array, "slots n"]
    mask: Bool[Array, "slots n"]
    movable: Bool[Array, "slots n 3"]
    pbc: Bool[Array, "slots 3"]


class Given(NamedTuple):
    """The structures of a bucket, as they were given."""

    atoms: Atoms
    positions: Float[Array, "structures n 3"]
    velocities: Float[Array, "structures n 3"]
    cell: Float[Array, "structures 3 3"]
    place: Int[Array, " structures"]
    """The place of each among all that were given."""


class Geometry(NamedTuple):
    """What is optimised: the parameters of a bucket."""

    positions: Float[Array, "slots n 3"]
    cell: Float[Array, "slots 3 3"]


class Evaluation(NamedTuple):
    """Where structures were when their energies were computed."""

    geometry: Geometry
    velocities: Float[Array, "slots n 3"]


class Outcome(NamedTuple):
    """How structures stood at their last evaluation; the first axis is the slot, or structure."""

    at: Evaluation
    energy: Float[Array, " slots"]
    forces: Float[Array, "slots n 3"]
    virial: Float[Array, "slots 3 3"]
    fmax: Float[Array, " slots"]
    status: Int[Array, " slots"]
    steps: Int[Array, " slots"]
    """How many steps each has taken."""


class Slots(NamedTuple):
    """All of a bucket but the geometry."""

    member: Int[Array, " slots"]
    """Which structure of the bucket is here."""
    atoms: Atoms
    velocities: Float[Array, "slots n 3"]
    at: Evaluation
    energy: Float[Array, " slots"]
    """That of the last evaluation; infinite before the first."""
    forces: Float[Array, "slots n 3"]
    virial: Float[Array, "slots 3 3"]
    fmax: Float[Array, " slots"]
    status: Int[Array, " slots"]
    steps: Int[Array, " slots"]
    stage_steps: Int[Array, " slots"]
    """How many steps each has taken in its stage."""
    stages: tuple[PyTree, ...]
    """The states of all stages."""
    counters: Int[Array, "slots hooks"]
    """How often in a row the criteria of each hook were met."""
    lists: NeighborLists
    next: Int[Array, ""]
    """The structure that enters next."""
    finished: Outcome | tuple[()]
    """Those that have left their slots, by structure; empty if all have a slot of their own."""


def outcome(slots: Slots) -> Outcome:
    """How the structures in the slots stood at their last evaluation."""
    return Outcome(
        at=slots.at,
        energy=slots.energy,
        forces=slots.forces,
        virial=slots.virial,
        fmax=slots.fmax,
        status=slots.status,
        steps=slots.steps,
    )


def is_running(slots: Slots, n_stages: int) -> Any:
    """Which slots hold a structure that has not finished."""
    return (slots.status >= 0) & (slots.status < n_stages)


def waiting(slots: Slots, n_structures: int) -> Any:
    """How many structures wait for a slot."""
    return jnp.maximum(n_structures - slots.next, 0)
