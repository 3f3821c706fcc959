"""How the arrays of a step are divided among devices, those of all processes included."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Function = TypeVar("Function", bound=Callable[..., Any])

Specs = Any
"""A `PartitionSpec` for a whole tree, or a tree of them for parts of it."""

EVERYWHERE: Specs = PartitionSpec()
"""The layout of arrays that every device has whole."""


MOST_GATHERED = 2**16
"""Bytes from all devices up to which numbers are summed by a gather."""


@dataclasses.dataclass(frozen=True)
class Division:
    """The devices that share the arrays of a step; hashable.

    Without a mesh there is one device, and all methods leave things as they are.
    """

    mesh: Mesh | None = None

    def count(self, axis: str) -> int:
        """Number of devices along an axis of the mesh."""
        return 1 if self.mesh is None else self.mesh.shape[axis]

    @property
    def n_devices(self) -> int:
        """Number of devices, those of other processes included."""
        return 1 if self.mesh is None else self.mesh.size

    def put(self, tree: Any, specs: Specs = EVERYWHERE) -> Any:
        """The arrays of a tree, laid out over the devices.

        Arrays that only this process has must be the same on all processes.
        """
        if self.mesh is None:
            return tree
        return jax.tree.map(
            lambda spec, part: jax.tree.map(lambda leaf: self._put(leaf, spec), part),
            specs,
            tree,
            is_leaf=_is_spec,
        )

    def _put(self, leaf: Any, spec: PartitionSpec) -> jax.Array:
        layout = self._layout(spec)
        if _is_laid_out(leaf, layout):
            return leaf
        if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
            data = jax.device_put(jax.random.key_data(leaf), layout)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return _in_turn(jax.device_put(leaf, layout))

    def hold(self, tree: Any, specs: Specs = EVERYWHERE) -> Any:
        """In a compiled program: the arrays of a tree, laid out as `put` does."""
        if self.mesh is None:
            return tree
        return jax.tree.map(
            lambda spec, part: jax.lax.with_sharding_constraint(part, self._layout(spec)),
            specs,
            tree,
            is_leaf=_is_spec,
        )

    def _layout(self, spec: PartitionSpec) -> NamedSharding:
        assert self.mesh is not None
        return NamedSharding(self.mesh, spec)

    def on_each(self, function: Function, takes: Specs, gives: Specs) -> Function:
        """A function that every device applies to its part of the arguments.

        Args:
            function: What is applied; it may call `total`.
            takes: The layouts of the arguments, a tuple.
            gives: The layouts of results; where devices have the same, `PartitionSpec()`.
        """
        if self.mesh is None:
            return function
        mapped: Any = jax.shard_map(
            function, mesh=self.mesh, in_specs=takes, out_specs=gives, check_vma=False
        )
        return mapped

    def total(self, tree: Any, axis: str) -> Any:
        """Within `on_each`: sums over the devices along an axis, in one collective operation.

        A few numbers are gathered and summed by each device, which takes one exchange of messages;
        a sum by rings takes two for each device.
        """
        count = self.count(axis)
        leaves, structure = jax.tree.flatten(tree)
        if count == 1 or not leaves:
            return tree
        kinds = {leaf.dtype for leaf in leaves}
        if len(kinds) > 1 or count * sum(leaf.nbytes for leaf in leaves) > MOST_GATHERED:
            return jax.lax.psum(tree, axis)
        table = jax.lax.all_gather(jnp.concatenate([leaf.ravel() for leaf in leaves]), axis)
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = jnp.split(jnp.sum(table, axis=0, dtype=table.dtype), ends)
        return structure.unflatten(
            [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        )

    def place(self, axis: str) -> Any:
        """Within `on_each`: which of the devices along an axis this one is."""
        return 0 if self.count(axis) == 1 else jax.lax.axis_index(axis)

    def joined(self, parts: Mapping[int, Any], axis: str) -> Any:
        """Trees of host arrays, one for each device along an axis, joined along their first axis.

        Args:
            parts: The part of each place along the axis where this process has a device.
            axis: The axis of the mesh.
        """
        assert self.mesh is not None
        layout, count = self._layout(PartitionSpec(axis)), self.count(axis)

        def join(*leaves: np.ndarray) -> jax.Array:
            known = dict(zip(parts, leaves, strict=True))
            length = len(leaves[0])
            shape = (count * length, *leaves[0].shape[1:])

            def part(index: Any) -> np.ndarray:
                return known[(index[0].start or 0) // max(length, 1)]

            return jax.make_array_from_callback(shape, layout, part)

        return jax.tree.map(join, *parts.values())

    def own_places(self, axis: str) -> list[int]:
        """The places along an axis at which this process has a device."""
        if self.mesh is None:
            return [0]
        number = self.mesh.axis_names.index(axis)
        mine = [
            place[number]
            for place, device in np.ndenumerate(self.mesh.devices)
            if device.process_index == jax.process_index()
        ]
        return sorted(set(mine))


def _is_spec(leaf: object) -> bool:
    return isinstance(leaf, PartitionSpec)


def mesh_over(names: Sequence[str], sizes: Sequence[int], devices: Sequence[Any]) -> Mesh:
    """A mesh in which every process has devices at all places of the axes but the last.

    Args:
        names: Of the axes.
        sizes: Their lengths; that of the last is what is left.
        devices: Of all processes, in the same order on all of them.
    """
    by_process: dict[int, list[Any]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    blocks = []
    for own in by_process.values():
        block = np.empty(len(own), object)
        block[:] = own
        blocks.append(block.reshape(*sizes, -1))
    return Mesh(np.concatenate(blocks, axis=-1), tuple(names))


def everywhere(leaf: Any) -> Any:
    """An array of which this process has all; all processes must ask together.

    If other processes have parts of it, these are gathered.
    """
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return leaf
    assert isinstance(leaf.sharding, NamedSharding)
    return _in_turn(jax.device_put(leaf, NamedSharding(leaf.sharding.mesh, EVERYWHERE)))


def on_host(tree: Any) -> Any:
    """The arrays of a tree as those of NumPy; all processes must ask together, see `everywhere`."""
    return jax.device_get(jax.tree.map(everywhere, tree))


def _is_laid_out(leaf: Any, layout: NamedSharding) -> bool:
    return isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(layout, leaf.ndim)


def _in_turn(array: jax.Array) -> jax.Array:
    """The array, once it is there: on CPUs programs that run side by side would mix up messages."""
    return array if array.is_fully_addressable else array.block_until_ready()
