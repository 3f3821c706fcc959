"""Functions applied to samples in chunks."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

Total = TypeVar("Total")


def add_trees(total: Total, more: Total) -> Total:
    """The sum of two trees, leaf by leaf."""
    return jax.tree.map(jnp.add, total, more)


def mapped(one: Callable[[PyTree], PyTree], samples: PyTree, chunk_size: int | None) -> PyTree:
    """`one` of each sample; of `chunk_size` samples at once, or of all."""
    n_samples = len(jax.tree.leaves(samples)[0])
    whole = chunk_size is None or chunk_size >= n_samples
    return jax.vmap(one)(samples) if whole else jax.lax.map(one, samples, batch_size=chunk_size)


def accumulated(
    part: Callable[..., Total],
    samples: tuple[PyTree, ...],
    chunk_size: int | None,
    add: Callable[[Total, Total], Total] = add_trees,
) -> Total:
    """The sum of what `part` gives of chunks of samples, one chunk after another.

    Args:
        part: A function of arrays whose first axis is the sample.
        samples: Its arguments, for all samples.
        chunk_size: Number of samples of a chunk, the first of which may be smaller; None for all.
        add: Adds two of its results.
    """
    n_samples = len(jax.tree.leaves(samples)[0])
    if chunk_size is None or chunk_size >= n_samples:
        return part(*samples)
    first = n_samples % chunk_size or chunk_size

    def chunks(leaf: Array) -> Array:
        return leaf[first:].reshape(-1, chunk_size, *leaf.shape[1:])

    def body(total: Total, chunk: tuple[PyTree, ...]) -> tuple[Total, None]:
        return add(total, part(*chunk)), None

    begin = part(*jax.tree.map(lambda leaf: leaf[:first], samples))
    return jax.lax.scan(body, begin, jax.tree.map(chunks, samples))[0]
