"""Where the arrays of a carry lie: divided among devices, or whole on each of them.

Left to itself the compiler divides what a program returns as it likes: parameters that come back in
parts would have to be gathered in the next step, and the next call would be compiled anew.
"""

import dataclasses
import functools
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver.kernel import Kernel, Proposal
from ritz.types import Loss

Tree = TypeVar("Tree")


@functools.cache
def has_one_device() -> bool:
    """Whether there is only one device in all processes."""
    return jax.device_count() == 1


def mesh_of(carry: PyTree) -> Mesh | None:
    """The devices among which an array of a carry is divided; None if there is no such."""
    if has_one_device():
        return None
    for leaf in jax.tree.leaves(carry):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and len(sharding.device_set) > 1:
            mesh: Any = sharding.mesh
            return mesh
    return None


def _layout(leaf: Any, mesh: Mesh) -> NamedSharding:
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, NamedSharding) and len(sharding.device_set) > 1:
        return sharding
    return NamedSharding(mesh, PartitionSpec())


def on_all_devices(tree: Tree, mesh: Mesh | None) -> Tree:
    """The tree with arrays that are on one device only put on all of `mesh`, whole on each.

    They must be the same on all processes.
    """
    if mesh is None:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    placed = [_placed(leaf, mesh) for leaf in leaves]
    return structure.unflatten(placed)


def _placed(leaf: Any, mesh: Mesh) -> Any:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or len(sharding.device_set) > 1:
        return leaf
    layout = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(leaf, layout)
    is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    value = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    found = jax.make_array_from_callback(value.shape, layout, lambda index: value[index])
    return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf)) if is_key else found


def _held(tree: Tree, layouts: tuple[NamedSharding, ...] | NamedSharding) -> Tree:
    """In a program: the tree with its arrays where they shall lie."""
    leaves, structure = jax.tree.flatten(tree)
    each = layouts if isinstance(layouts, tuple) else (layouts,) * len(leaves)
    held = [
        jax.lax.with_sharding_constraint(leaf, layout) if isinstance(leaf, jax.Array) else leaf
        for leaf, layout in zip(leaves, each, strict=True)
    ]
    return structure.unflatten(held)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LaidOut(Kernel):
    """A kernel whose carry stays where it lies, and whose rows all devices have."""

    inner: Kernel
    layouts: tuple[NamedSharding, ...] = dataclasses.field(metadata={"static": True})
    """Those of the leaves of the carry."""
    of_parameters: tuple[NamedSharding, ...] = dataclasses.field(metadata={"static": True})
    """Those of the parameters, which updates have too."""
    everywhere: NamedSharding = dataclasses.field(metadata={"static": True})

    @override
    def sample(self, carry: PyTree) -> tuple[PyTree, PyTree]:
        carry, batch = self.inner.sample(carry)
        return _held(carry, self.layouts), batch

    @override
    def propose(self, carry: PyTree, batch: PyTree) -> tuple[PyTree, Proposal]:
        carry, proposal = self.inner.propose(carry, batch)
        loss, metrics = _held((proposal.loss, proposal.metrics), self.everywhere)
        update = proposal.update
        if jax.tree.structure(update) == jax.tree.structure(carry.params):
            update = _held(update, self.of_parameters)
        return _held(carry, self.layouts), Proposal(loss, update, metrics)

    @override
    def apply(self, carry: PyTree, update: PyTree) -> PyTree:
        return _held(self.inner.apply(carry, update), self.layouts)

    @override
    def pauses(self, carry: PyTree) -> ArrayLike:
        return self.inner.pauses(carry)

    @override
    def trial(self, carry: PyTree, batch: PyTree, update: PyTree) -> Loss:
        return _held(self.inner.trial(carry, batch, update), self.everywhere)


def laid_out(kernel: Kernel, carry: Any, mesh: Mesh | None) -> Kernel:
    """A kernel that leaves the arrays of a carry where they lie, if they lie on several devices."""
    if mesh is None:
        return kernel
    layouts = tuple(_layout(leaf, mesh) for leaf in jax.tree.leaves(carry))
    of_parameters = tuple(_layout(leaf, mesh) for leaf in jax.tree.leaves(carry.params))
    return LaidOut(kernel, layouts, of_parameters, NamedSharding(mesh, PartitionSpec()))
