"""How much fits into a batch."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ritz.mlip.config import TrainingConfig
from ritz.mlip.sampling import most_atoms
from ritz.mlip.split import Split

_MARGIN = 1.1
"""How much more room than the fullest batch needs is made, where batches vary."""

Plan = tuple[Int[Array, "n_batches n_slots"], ...]
"""The structures of each batch of an epoch, by group; -1 for none."""


@dataclasses.dataclass(frozen=True)
class GroupRoom:
    """How many structures of a group fit into a batch; hashable."""

    slots: int
    atoms: tuple[int, ...]
    """Of each species."""
    supervised: bool
    """Whether forces of this group's structures are predicted."""
    stress: bool = False
    """Whether their stress is too."""


Room = tuple[GroupRoom, ...]
"""How much fits into a batch: structures whose forces are predicted, and others."""


def first_room(
    config: TrainingConfig, counts: np.ndarray, supervised: np.ndarray, n_batches: int
) -> Room:
    """Room for every batch there can be, if each structure is once in an epoch.

    Args:
        config: How structures are drawn; where batches vary there is a margin, and room is made
            when it is too little.
        counts: How many atoms of each species each structure has.
        supervised: Which structures add to the force loss.
        n_batches: How many batches an epoch has.
    """
    resampled = resample_every(config) and 0 < supervised.sum() < len(counts)
    varies = bool(config.sampling_policy != "uniform" or resampled)
    margin = _MARGIN if varies else 1.0
    groups = []
    for forced in (True, False):
        own = counts[supervised == forced]
        if len(own):
            slots = -(-len(own) // n_batches) + varies
            atoms = (int(np.ceil(margin * n)) for n in most_atoms(own, n_batches))
            stress = forced and config.uses_stress
            groups.append(GroupRoom(slots, tuple(atoms), forced, stress))
    return tuple(groups)


def wider(room: Room) -> Room:
    """More room."""
    return tuple(
        dataclasses.replace(
            group,
            slots=group.slots + max(1, group.slots // 8),
            atoms=tuple(int(np.ceil(_MARGIN * n)) + 1 for n in group.atoms),
        )
        for group in room
    )


def resample_every(config: TrainingConfig) -> int:
    """After how many epochs other structures add to the force loss; 0 for never."""
    return 0 if config.force_sampling == "fixed" else config.force_resample_num_epochs


def n_supervised(config: TrainingConfig, n_labelled: int) -> int:
    """How many structures add to the force loss."""
    if not config.uses_forces and not config.uses_stress:
        return 0
    wanted = max(round(config.force_fraction * n_labelled), config.force_min_structures_per_epoch)
    return min(wanted, n_labelled)


def fixed_plan(split: Split, batchsize: int, with_stress: bool) -> tuple[Room, Plan]:
    """Room and plan of batches that have each structure once, always in the same order."""
    counts = np.asarray(split.counts)
    labelled = np.asarray(split.labels.has_tables)
    n_batches = -(-len(counts) // batchsize)
    room, plan = [], []
    for forced in (True, False):
        own = np.flatnonzero(labelled == forced)
        if not len(own):
            continue
        own = own[np.argsort(-counts[own].sum(axis=1), kind="stable")]
        slots = -(-len(own) // n_batches)
        ids = np.full(slots * n_batches, -1, np.int32)
        ids[: len(own)] = own
        atoms = most_atoms(counts[own], n_batches)
        room.append(GroupRoom(slots, atoms, forced, forced and with_stress))
        plan.append(jnp.asarray(ids.reshape(slots, n_batches).T))
    return tuple(room), tuple(plan)
