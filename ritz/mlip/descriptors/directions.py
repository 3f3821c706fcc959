"""Lengths and directions of vectors to neighbours, which can be differentiated."""

from typing import Any

import jax.numpy as jnp


def lengths(vectors: Any, pairs: Any) -> tuple[Any, Any]:
    """Lengths of vectors, 1 where there is no pair or it is zero, and which are not."""
    squares = jnp.sum(vectors**2, axis=-1)
    there = pairs & (squares > 0)
    return jnp.sqrt(jnp.where(there, squares, 1)), there


def unit_vectors(vectors: Any, distances: Any, pairs: Any) -> Any:
    """Vectors over their lengths; zero where there is no pair."""
    return jnp.where(pairs[..., None], vectors / distances[..., None], 0)
