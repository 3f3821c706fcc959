"""Whether losses, updates and parameters are finite, on the host and in compiled functions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.driver.rows import mean_of
from ritz.types import Loss


def loss_parts(loss: Loss) -> list[PyTree]:
    """The arrays of a loss that must be finite.

    Of statistics these are the mean and the variance: diagnostics such as R-hat may have no value.
    """
    mean = mean_of(loss)
    if mean is loss:
        return jax.tree.leaves(loss)
    return jax.tree.leaves((mean, getattr(loss, "variance", None)))


def is_finite(tree: PyTree) -> bool:
    """Whether all numbers of a tree are finite; looks at the parts on this process only."""
    return all(map(_leaf_is_finite, jax.tree.leaves(tree)))


def _leaf_is_finite(leaf: PyTree) -> bool:
    if type(leaf) is float:
        return math.isfinite(leaf)
    if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return True  # among them random keys, of which NumPy knows nothing
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return all(_leaf_is_finite(shard.data) for shard in leaf.addressable_shards)
    array = np.asarray(leaf)
    return not jnp.issubdtype(array.dtype, jnp.inexact) or bool(np.all(np.isfinite(array)))


def all_finite(tree: PyTree) -> jax.Array:
    """Whether all numbers of a tree are finite, as a pure function of JAX."""
    found = [
        jnp.all(jnp.isfinite(leaf))
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return jnp.all(jnp.stack(found)) if found else jnp.ones((), bool)


def first_invalid(loss: Loss, length: int, excused: np.ndarray | None = None) -> int:
    """The first of `length` stacked losses that is not finite; `length` if all are.

    Args:
        loss: The losses.
        length: How many.
        excused: Which of them may be anything; None for none.
    """
    valid = np.ones(length, bool)
    for part in loss_parts(loss):
        array = np.asarray(part)[:length]
        if jnp.issubdtype(array.dtype, jnp.inexact):
            valid &= np.isfinite(array).reshape(length, -1).all(axis=1)
    if excused is not None:
        valid |= np.asarray(excused[:length], bool)
    return length if valid.all() else int(np.argmin(valid))
