"""The arrays of a batch: structures as given, structures in slots, and finished ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ritz.driver.processes.division import on_host
from ritz.relax.batching.neighbors import NeighborLists

FAILED = -1
"""The status of structures whose energy, forces or criteria are not finite."""

UNCONVERGED = -2
"""The status of structures that have used up their steps without meeting the criteria."""

UNCERTAIN = -4
"""The status of structures for which the expected error of a committee has passed a limit."""

EMPTY = -3
"""The status of slots without a structure, and of structures that wait for a slot."""


class Atoms(NamedTuple):
    """Constants of the structures; the first axis is the structure, or the slot."""

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
    """Index of each structure among all that were given."""


class Geometry(NamedTuple):
    """Positions and cells that are optimised: the parameters of a bucket."""

    positions: Float[Array, "slots n 3"]
    cell: Float[Array, "slots 3 3"]


class PhasePoints(NamedTuple):
    """Positions, cells and velocities of structures at which energies and forces were computed."""

    geometry: Geometry
    velocities: Float[Array, "slots n 3"]


class Outcome(NamedTuple):
    """Results of the last evaluation; the first axis is the slot, or the structure."""

    at: PhasePoints
    energy: Float[Array, " slots"]
    forces: Float[Array, "slots n 3"]
    virial: Float[Array, "slots 3 3"]
    fmax: Float[Array, " slots"]
    status: Int[Array, " slots"]
    steps: Int[Array, " slots"]
    """Number of steps each has taken."""


class Slots(NamedTuple):
    """State of a bucket, except the geometry."""

    member: Int[Array, " slots"]
    """Index in the bucket of the structure in each slot."""
    atoms: Atoms
    velocities: Float[Array, "slots n 3"]
    at: PhasePoints
    energy: Float[Array, " slots"]
    """Energy at the last evaluation, in eV; infinite before the first."""
    forces: Float[Array, "slots n 3"]
    virial: Float[Array, "slots 3 3"]
    fmax: Float[Array, " slots"]
    status: Int[Array, " slots"]
    steps: Int[Array, " slots"]
    stage_steps: Int[Array, " slots"]
    """Number of steps each has taken in its stage."""
    stages: tuple[PyTree, ...]
    """The states of all stages."""
    counters: Int[Array, "slots hooks"]
    """Number of evaluations in a row at which the criteria of each hook were met."""
    lists: NeighborLists
    next: Int[Array, ""]
    """Index of the structure that enters next."""
    finished: Outcome | tuple[()]
    """Results of structures that have left their slots; empty if each has its own slot."""


def outcome(slots: Slots) -> Outcome:
    """Results of the structures in the slots at their last evaluation."""
    return Outcome(
        at=slots.at,
        energy=slots.energy,
        forces=slots.forces,
        virial=slots.virial,
        fmax=slots.fmax,
        status=slots.status,
        steps=slots.steps,
    )


def is_running(slots: Slots, n_stages: int) -> jax.Array:
    """Which slots hold a structure that has not finished."""
    return (slots.status >= 0) & (slots.status < n_stages)


def is_running_on_host(slots: Slots, n_stages: int) -> np.ndarray:
    """Which slots hold an unfinished structure, as an array of NumPy; all processes ask together.

    JAX's own operators fail outside of the driver where another mesh is set than that of the slots.
    """
    return np.asarray(is_running(slots._replace(status=on_host(slots.status)), n_stages))


def waiting(slots: Slots, n_structures: int) -> jax.Array:
    """Number of structures that wait for a slot."""
    return jnp.maximum(n_structures - slots.next, 0)
