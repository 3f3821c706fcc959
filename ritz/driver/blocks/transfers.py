"""Transfer of trees of numbers to the host."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def to_host(tree: PyTree) -> PyTree:
    """Fetch a tree: scalars as Python's numbers, the rest as NumPy arrays."""
    leaves, structure = jax.tree.flatten(tree)
    if _far():  # start all transfers before waiting for any
        for leaf in leaves:
            if isinstance(leaf, jax.Array):
                leaf.copy_to_host_async()
    arrays = [np.asarray(leaf) for leaf in leaves]
    return structure.unflatten([a.item() if a.ndim == 0 else a for a in arrays])


@functools.cache
def _far() -> bool:
    """Whether the device has its own memory."""
    return jax.default_backend() != "cpu"


@jax.tree_util.register_pytree_node_class
class Packed:
    """A tree with its scalars packed in one vector per type; made within compiled functions.

    A transfer to the host takes several microseconds, however little it brings.
    """

    def __init__(
        self,
        vectors: Sequence[jax.Array],
        arrays: Sequence[jax.Array],
        order: tuple[int, ...],
        booleans: tuple[int, ...],
        structure: Any,
    ):
        """Store packed arrays; use `pack` to make them."""
        self._vectors, self._arrays = tuple(vectors), tuple(arrays)
        self._order, self._booleans, self._structure = order, booleans, structure

    @classmethod
    def pack(cls, tree: PyTree) -> "Packed":
        """Pack a tree of arrays; booleans are packed with numbers of another type, if any."""
        leaves, structure = jax.tree.flatten(tree)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        booleans = tuple(
            i for i, leaf in enumerate(leaves) if leaf.ndim == 0 and leaf.dtype == bool
        )
        kinds: dict[np.dtype, list[int]] = {}
        for i, leaf in enumerate(leaves):
            if leaf.ndim == 0 and i not in booleans:
                kinds.setdefault(leaf.dtype, []).append(i)
        if booleans:
            kinds.setdefault(next(iter(kinds), np.dtype(bool)), []).extend(booleans)
        vectors = [
            jnp.stack([leaves[i].astype(dtype) for i in places]) for dtype, places in kinds.items()
        ]
        arrays = [i for i, leaf in enumerate(leaves) if leaf.ndim]
        place_of = [i for places in kinds.values() for i in places] + arrays
        order = tuple(place_of.index(i) for i in range(len(leaves)))
        return cls(vectors, [leaves[i] for i in arrays], order, booleans, structure)

    def to_host(self) -> PyTree:
        """The tree: scalars as Python's numbers, the rest as NumPy arrays."""
        if _far():
            for array in (*self._vectors, *self._arrays):
                array.copy_to_host_async()
        found: list[Any] = []
        for vector in self._vectors:
            if vector.is_fully_replicated:  # one copy is fetched faster than a sharded array
                vector = vector.addressable_data(0)
            found += np.asarray(vector).tolist()
        found += map(np.asarray, self._arrays)
        leaves = [found[place] for place in self._order]
        for place in self._booleans:
            leaves[place] = bool(leaves[place].real)
        return self._structure.unflatten(leaves)

    def tree_flatten(self) -> tuple[PyTree, tuple[object, ...]]:
        """Arrays and static data of this pytree, for JAX."""
        return (self._vectors, self._arrays), (self._order, self._booleans, self._structure)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], children: PyTree) -> "Packed":
        """Make the object from arrays and static data, for JAX."""
        return cls(*children, *static)
