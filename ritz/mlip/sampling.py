"""Which structures are in which batch of an epoch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ritz.mlip.types import AnyArray

SMALLEST = 1e-12
"""The least weight of a structure that is not left out."""


def draw(key: Key[Array, ""], weights: Float[AnyArray, " n"]) -> Int[Array, " n"]:
    """As many structures as there are, with replacement, with probabilities by `weights`."""
    ends = jnp.cumsum(weights)
    numbers = jax.random.uniform(key, weights.shape, weights.dtype) * ends[-1]
    return jnp.minimum(jnp.searchsorted(ends, numbers, side="right"), len(weights) - 1)


def energy_weights(energy_per_atom: Any) -> np.ndarray:
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


def divide(
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
    about the same room.

    Args:
        key: The random numbers.
        drawn: The structures.
        chosen: Which of them are meant.
        sizes: How many atoms each structure has.
        n_batches: How many batches there are.
        n_slots: How many structures fit into each.

    Returns:
        The structures of each batch; -1 for empty slots.
    """
    order = jnp.argsort(jnp.where(chosen, -sizes[drawn], 1), stable=True)
    ordered = jnp.where(chosen, drawn, -1)[order]
    room = n_batches * n_slots
    ordered = jnp.pad(ordered, (0, max(0, room - len(ordered))), constant_values=-1)[:room]
    strata = ordered.reshape(n_slots, n_batches)
    return jax.random.permutation(key, strata, axis=1, independent=True).T


def choose(key: Key[Array, ""], allowed: Bool[AnyArray, " n"], count: int) -> Bool[AnyArray, " n"]:
    """A random subset of `count` of those that are allowed."""
    numbers = jnp.where(allowed, jax.random.uniform(key, allowed.shape), 2)
    ranks = jnp.argsort(jnp.argsort(numbers))
    return (ranks < count) & allowed


def most_atoms(counts: np.ndarray, n_batches: int) -> tuple[int, ...]:
    """How many atoms of each species any batch of `divide` can have, given those of each structure.

    Args:
        counts: By structure and species.
        n_batches: How many batches there are.
    """
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    strata = -(-len(counts) // n_batches)
    padded = np.zeros((strata * n_batches, counts.shape[1]), int)
    padded[: len(counts)] = counts[order]
    return tuple(map(int, padded.reshape(strata, n_batches, -1).max(axis=1).sum(axis=0)))
