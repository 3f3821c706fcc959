"""How the arrays of a step are divided among devices, those of all processes included."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Function = TypeVar("Function", bound=Callable[..., Any])
Tree = TypeVar("Tree")

Specs = Any
"""A `PartitionSpec` for a whole tree, or a tree of them for parts of it."""

EVERYWHERE: Specs = PartitionSpec()
"""The layout of arrays that every device has whole."""


MOST_GATHERED = 2**16
"""Bytes from all devices up to which numbers are summed by a gather."""

MOST_WHOLE = 2**20
"""Bytes up to which numbers of all samples are gathered, to be averaged on each device."""

_SEPARATE = 2**20
"""Bytes from which an array is a message of its own: joining it with others costs copies."""


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
            data = _moved(jax.random.key_data(leaf), layout)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return _moved(leaf, layout)

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
        mapped = jax.shard_map(
            function, mesh=self.mesh, in_specs=takes, out_specs=gives, check_vma=False
        )
        devices = self.mesh.abstract_mesh

        def applied(*arguments: Any) -> Any:
            # NetKet sets a mesh of its own for the whole process when it is imported.
            with jax.sharding.use_abstract_mesh(devices):
                return mapped(*arguments)

        found: Any = applied
        return found

    def total(self, tree: Any, axis: str) -> Any:
        """Within `on_each`: sums over the devices along an axis.

        Numbers of one type are sent as one array: on CPUs each array is a message of its own. A few
        are gathered and summed by each device, which takes one exchange of messages; a sum by rings
        takes two for each device.
        """
        count = self.count(axis)
        leaves, structure = jax.tree.flatten(tree)
        if count == 1 or not leaves:
            return tree
        found: list[Any] = [None] * len(leaves)
        for kind in dict.fromkeys(leaf.dtype for leaf in leaves):  # in the same order everywhere
            places = [place for place, leaf in enumerate(leaves) if leaf.dtype == kind]
            for place, part in zip(
                places, _total([leaves[place] for place in places], axis, count), strict=True
            ):
                found[place] = part
        return structure.unflatten(found)

    def gathered(self, tree: Tree) -> Tree:
        """In a compiled program: numbers of all samples, which all devices have then.

        Those of the same type and number of samples come in one message. Many numbers are left
        where they are.
        """
        if not self._are_few(tree):
            return tree
        leaves, structure = jax.tree.flatten(tree)
        kinds = [(leaf.dtype, leaf.shape[:1]) for leaf in leaves]
        for kind in dict.fromkeys(kinds):
            places = [place for place, found in enumerate(kinds) if found == kind and kind[1]]
            parts = [leaves[place] for place in places]
            if len(parts) > 1:
                columns = [part.reshape(len(part), -1) for part in parts]
                table = self.hold(jnp.concatenate(columns, axis=1))
                ends = np.cumsum([column.shape[1] for column in columns])[:-1]
                for place, part in zip(places, jnp.split(table, ends, axis=1), strict=True):
                    leaves[place] = part.reshape(leaves[place].shape)
        # The compiler may divide what is merely held; it leaves results of `on_each` alone.
        return self.alike(lambda *leaves: structure.unflatten(leaves))(*leaves)

    def alike(self, function: Function) -> Function:
        """In a compiled program: a function that each device applies to numbers of all samples.

        Means, medians and their like of what is `gathered` then need no messages. Many numbers are
        left where they are.
        """

        def applied(*given: Any) -> Any:
            if not self._are_few(given):
                return function(*given)
            return self.on_each(function, (EVERYWHERE,) * len(given), EVERYWHERE)(*given)

        found: Any = applied
        return found

    def _are_few(self, tree: Any) -> bool:
        leaves = jax.tree.leaves(tree)
        return self.mesh is not None and sum(leaf.nbytes for leaf in leaves) <= MOST_WHOLE

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


ONE_DEVICE = Division()
"""No division: a single device has all arrays."""


def _total(leaves: list[jax.Array], axis: str, count: int) -> list[jax.Array]:
    """Sums over the devices along an axis of arrays of the same type."""
    if count * sum(leaf.nbytes for leaf in leaves) <= MOST_GATHERED:
        gathered = jax.lax.all_gather(_joined(leaves), axis)
        return _parted(jnp.sum(gathered, axis=0, dtype=gathered.dtype), leaves)
    small = [leaf for leaf in leaves if leaf.nbytes < _SEPARATE]
    summed = iter(_parted(jax.lax.psum(_joined(small), axis), small) if small else [])
    return [
        next(summed) if leaf.nbytes < _SEPARATE else jax.lax.psum(leaf, axis) for leaf in leaves
    ]


def _joined(leaves: list[jax.Array]) -> jax.Array:
    return jnp.concatenate([leaf.ravel() for leaf in leaves])


def _parted(vector: jax.Array, like: list[jax.Array]) -> list[jax.Array]:
    parts = jnp.split(vector, np.cumsum([leaf.size for leaf in like])[:-1])
    return [part.reshape(leaf.shape) for part, leaf in zip(parts, like, strict=True)]


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
    return _moved(leaf, NamedSharding(leaf.sharding.mesh, EVERYWHERE))


def on_host(tree: Any) -> Any:
    """The arrays of a tree as those of NumPy; all processes must ask together, see `everywhere`."""
    return jax.device_get(jax.tree.map(everywhere, tree))


def _is_laid_out(leaf: Any, layout: NamedSharding) -> bool:
    return isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(layout, leaf.ndim)


def _moved(leaf: Any, layout: NamedSharding) -> jax.Array:
    """An array in a layout, once it is there.

    On CPUs programs that run side by side would mix up messages.
    """
    with without_mesh():
        array = jax.device_put(leaf, layout)
    return array if array.is_fully_addressable else array.block_until_ready()


def without_mesh() -> contextlib.AbstractContextManager[object]:
    """Context in which JAX computes on no devices but those of the arrays.

    NetKet sets a mesh of all devices for the whole process when it is imported, and JAX refuses
    then to divide arrays among fewer of them, or in another order.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return contextlib.nullcontext()
    return _without_mesh()


@contextlib.contextmanager
def _without_mesh() -> Iterator[None]:
    with jax.set_mesh(Mesh(np.empty((), object), ())):
        yield
