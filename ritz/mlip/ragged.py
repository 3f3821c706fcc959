"""Batches of structures of different sizes, as arrays of one shape."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Ragged(NamedTuple):
    """Which atoms of which structures are where in a row of so many places."""

    slot: Int[Array, " places"]
    """The structure of the batch; the last one in empty places."""
    within: Int[Array, " places"]
    """Which of the structure's atoms."""
    valid: Bool[Array, " places"]
    """Which places hold an atom."""
    begins: Int[Array, " slots"]
    """The place of each structure's first atom."""


def ragged(counts: Int[Array, " slots"], capacity: int) -> Ragged:
    """Put `counts[i]` atoms of each structure i one after another into `capacity` places."""
    ends = jnp.cumsum(counts)
    places = jnp.arange(capacity, dtype=ends.dtype)
    slot = jnp.sum(places[:, None] >= ends, axis=-1, dtype=ends.dtype)
    valid = places < ends[-1]
    slot = jnp.minimum(slot, len(counts) - 1)
    begins: Any = ends - counts
    within: Any = jnp.where(valid, places - begins[slot], 0)
    return Ragged(slot, within, valid, begins)
