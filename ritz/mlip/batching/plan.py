"""Which structures are in which batch of an epoch, and the padded capacity of batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ritz.mlip.arrays import AnyArray
from ritz.mlip.batching.pack import Split
from ritz.mlip.models.abstract_model import GroupCapacity

Plan = tuple[Int[Array, "n_batches n_slots"], ...]
"""The structures of each batch of an epoch, by group; -1 for none."""

Capacity = tuple[GroupCapacity, ...]
"""Padded capacity of a batch: of structures whose forces are predicted, and of the others."""


def dealt(n_slots: int, n_parts: int) -> Int[np.ndarray, "n_parts rows"]:
    """Deal the slots of a batch, largest structures first, to devices; -1 for none.

    They are dealt to and fro, so that each device gets about as many atoms.
    """
    rows = -(-n_slots // n_parts)
    slots = np.arange(rows * n_parts).reshape(rows, n_parts)
    slots[1::2] = slots[1::2, ::-1]
    return np.where(slots < n_slots, slots, -1).T


def most_atoms(counts: np.ndarray, n_batches: int, n_parts: int = 1) -> tuple[int, ...]:
    """Largest number of atoms of each species in any batch of `divide_into_batches`.

    Args:
        counts: Number of atoms by structure and species.
        n_batches: Number of batches of an epoch.
        n_parts: Number of devices that share a batch; the atoms are those of any of them.
    """
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    strata = -(-len(counts) // n_batches)
    padded = np.zeros((strata * n_batches, counts.shape[1]), int)
    padded[: len(counts)] = counts[order]
    most = padded.reshape(strata, n_batches, -1).max(axis=1)
    parts = dealt(strata, n_parts)
    by_part = np.where(parts[..., None] >= 0, most[parts], 0).sum(axis=1)
    return tuple(map(int, by_part.max(axis=0)))


_MARGIN = 1.1
"""Capacity over what the fullest batch needs, where batches vary from epoch to epoch."""


def first_capacity(
    counts: np.ndarray,
    supervised: np.ndarray,
    n_batches: int,
    *,
    varies: bool,
    with_stress: bool,
    n_parts: int = 1,
) -> Capacity:
    """Capacity for every batch there can be, if each structure is once in an epoch.

    Args:
        counts: Number of atoms by structure and species.
        supervised: Which structures add to the force loss.
        n_batches: Number of batches of an epoch.
        varies: Whether epochs differ in the structures of either group; then there is a margin,
            and the capacity grows when it is too small.
        with_stress: Whether stress is predicted where forces are.
        n_parts: Number of devices that share a batch; the capacity is that of each.
    """
    margin = _MARGIN if varies else 1.0
    groups = []
    for forced in (True, False):
        group = counts[supervised == forced]
        if len(group):
            slots = -(-(-(-len(group) // n_batches) + varies) // n_parts)
            atoms = (int(np.ceil(margin * n)) for n in most_atoms(group, n_batches, n_parts))
            groups.append(GroupCapacity(slots, tuple(atoms), forced, forced and with_stress))
    return tuple(groups)


def first_supervised(labelled: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Which structures add to the force loss at first: `count` of those with labels, at random."""
    supervised = np.zeros(len(labelled), bool)
    chosen = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(labelled))[:count]
    supervised[chosen] = True
    return supervised


def enlarged(capacity: Capacity) -> Capacity:
    """A larger capacity of every group, after a batch has exceeded it."""
    return tuple(
        dataclasses.replace(
            group,
            slots=group.slots + max(1, group.slots // 8),
            atoms=tuple(int(np.ceil(_MARGIN * n)) + 1 for n in group.atoms),
        )
        for group in capacity
    )


def fixed_plan(
    split: Split, batchsize: int, with_stress: bool, n_parts: int = 1
) -> tuple[Capacity, Plan]:
    """Capacity and plan of batches that have each structure once, always in the same order.

    Args:
        split: The structures.
        batchsize: Largest number of structures in a batch.
        with_stress: Whether stress is predicted where forces are.
        n_parts: Number of devices that share a batch; the capacity is that of each.
    """
    counts = np.asarray(split.counts)
    labelled = np.asarray(split.labels.has_tables)
    n_batches = -(-len(counts) // batchsize)
    capacity, plan = [], []
    for forced in (True, False):
        places = np.flatnonzero(labelled == forced)
        if not len(places):
            continue
        places = places[np.argsort(-counts[places].sum(axis=1), kind="stable")]
        slots = -(-len(places) // n_batches)
        ids = np.full(slots * n_batches, -1, np.int32)
        ids[: len(places)] = places
        atoms = most_atoms(counts[places], n_batches, n_parts)
        parts = dealt(slots, n_parts)
        capacity.append(GroupCapacity(parts.shape[1], atoms, forced, forced and with_stress))
        plan.append(jnp.asarray(in_parts(ids.reshape(slots, n_batches).T, parts)))
    return tuple(capacity), tuple(plan)


def in_parts(
    ids: Int[AnyArray, "n_batches n_slots"], parts: Int[np.ndarray, "n_parts rows"]
) -> Int[AnyArray, "n_batches n_parts*rows"]:
    """The structures of batches in the order of the devices' slots, see `dealt`."""
    order = parts.ravel()
    if isinstance(ids, np.ndarray):
        return np.where(order >= 0, ids[:, order], -1)
    return jnp.where(order >= 0, ids[:, order], -1)


SMALLEST = 1e-12
"""The least weight of a structure that is not left out."""


def draw_with_replacement(key: Key[Array, ""], weights: Float[AnyArray, " n"]) -> Int[Array, " n"]:
    """As many structures as there are, with replacement, with probabilities by `weights`."""
    ends = jnp.cumsum(weights)
    numbers = jax.random.uniform(key, weights.shape, weights.dtype) * ends[-1]
    return jnp.minimum(jnp.searchsorted(ends, numbers, side="right"), len(weights) - 1)


def energy_weights(energy_per_atom: np.ndarray) -> np.ndarray:
    """The weights of `sampling_policy="energy_weighted"`: 1 / (1 + D_i / max D), D_i = e_i - min e.

    Equal weights if all energies are the same.
    """
    above = np.asarray(energy_per_atom) - np.min(energy_per_atom)
    most = np.max(above)
    return np.ones_like(above) if most <= 0 else 1 / (1 + above / most)


def error_weights(scores: Float[AnyArray, " n"]) -> Float[AnyArray, " n"]:
    """The weights of `sampling_policy="error_weighted"`, from the latest scores.

    Scores that are not finite or negative count as zero; if all are zero, weights are equal;
    otherwise each is at least 1e-12, and their mean is 1.
    """
    usable = jnp.where(jnp.isfinite(scores), jnp.maximum(scores, 0), 0)
    clamped = jnp.maximum(usable, SMALLEST)
    return jnp.where(jnp.any(usable > 0), clamped / jnp.mean(clamped), jnp.ones_like(scores))


def divide_into_batches(
    key: Key[Array, ""],
    drawn: Int[AnyArray, " n"],
    chosen: Bool[AnyArray, " n"],
    sizes: Int[AnyArray, " structures"],
    n_batches: int,
    n_slots: int,
) -> Int[AnyArray, "n_batches n_slots"]:
    """Divide structures among batches, so that each gets as many, and of about the same sizes.

    Structures are ordered by size and cut into strata of `n_batches`; each batch gets one of each
    stratum, at random. So every structure is equally likely in every batch, and batches need
    about the same capacity.

    Args:
        key: The random numbers.
        drawn: The structures, by their index.
        chosen: Which of them are divided; the others are left out.
        sizes: Number of atoms of each structure.
        n_batches: Number of batches.
        n_slots: Number of structures that fit into a batch.

    Returns:
        The structures of each batch; -1 for empty slots.
    """
    order = jnp.argsort(jnp.where(chosen, -sizes[drawn], 1), stable=True)
    ordered = jnp.where(chosen, drawn, -1)[order]
    count = n_batches * n_slots
    ordered = jnp.pad(ordered, (0, max(0, count - len(ordered))), constant_values=-1)[:count]
    strata = ordered.reshape(n_slots, n_batches)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n_slots))
    # A key for each stratum: what is drawn does not depend on how many empty ones follow.
    return jax.vmap(jax.random.permutation)(keys, strata).T


def random_subset(
    key: Key[Array, ""], allowed: Bool[AnyArray, " n"], count: int
) -> Bool[AnyArray, " n"]:
    """A random subset of `count` of those that are allowed."""
    numbers = jnp.where(allowed, jax.random.uniform(key, allowed.shape), 2)
    ranks = jnp.argsort(jnp.argsort(numbers))
    return (ranks < count) & allowed
