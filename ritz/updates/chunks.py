"""Functions applied to samples in chunks."""

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from ritz.driver.processes.division import EVERYWHERE, Division

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


def _total_over_devices(own: Total, total: Callable[[PyTree], PyTree]) -> Total:
    return total(own)


def over_samples(
    division: Division,
    part: Callable[..., Total],
    given: PyTree,
    samples: tuple[PyTree, ...],
    chunk_size: int | None = None,
    add: Callable[[Total, Total], Total] = add_trees,
    over_devices: Callable[[Total, Callable[[PyTree], PyTree]], Total] = _total_over_devices,
) -> Total:
    """The sum of what `part` gives of chunks of samples, over all chunks and devices.

    Args:
        division: The devices among which samples are divided, along the only axis of its mesh.
        part: A function of `given` and of arrays whose first axis is the sample.
        given: What `part` needs besides samples, with all arrays of the step: it must not close
            over any, since those that it is given are known to be whole on each device.
        samples: Its other arguments, for all samples.
        chunk_size: Number of samples of a chunk, on all devices together; None for all.
        add: Adds two of its results.
        over_devices: The sum over devices, from what `part` gives of the samples of one and a
            function for sums over all of them.
    """
    n_samples = len(jax.tree.leaves(samples)[0])
    if division.mesh is None or n_samples % division.n_devices:
        return accumulated(functools.partial(part, given), samples, chunk_size, add)
    (axis,) = division.mesh.axis_names
    chunk_size = chunk_size and -(-chunk_size // division.n_devices)
    leaves, structure = jax.tree.flatten(given)
    arrays = {place: x for place, x in enumerate(leaves) if isinstance(x, jax.Array | np.ndarray)}

    def own(arrays: Mapping[int, Array | np.ndarray], *samples: PyTree) -> Total:
        whole = structure.unflatten([arrays.get(place, x) for place, x in enumerate(leaves)])
        found = accumulated(functools.partial(part, whole), samples, chunk_size, add)
        return over_devices(found, functools.partial(division.total, axis=axis))

    takes = (EVERYWHERE, *[PartitionSpec(axis)] * len(samples))
    return division.on_each(own, takes, EVERYWHERE)(arrays, *samples)
