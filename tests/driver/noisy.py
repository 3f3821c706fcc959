"""A cheap kernel with noise in every phase, so that any step lost or taken twice shows."""

import dataclasses
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ritz.driver import CompiledDriver, Kernel, Proposal


class Carry(NamedTuple):
    params: jax.Array
    momentum: jax.Array
    key: jax.Array


class Loss(NamedTuple):
    mean: jax.Array
    error_of_mean: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyKernel(Kernel):
    rate: float = dataclasses.field(default=0.1, metadata={"static": True})

    def sample(self, carry):
        key, own = jax.random.split(carry.key)
        return carry._replace(key=key), jax.random.normal(own, (5, 3))

    def propose(self, carry, batch):
        losses = jnp.sum((carry.params + 0.1 * batch) ** 2, axis=1) / 3
        momentum = 0.9 * carry.momentum + jnp.mean(carry.params + 0.1 * batch, axis=0)
        loss = Loss(jnp.mean(losses), jnp.std(losses) / np.sqrt(5))
        metrics = {"largest": jnp.max(batch), "vector": batch[0]}
        return carry._replace(momentum=momentum), Proposal(loss, momentum, metrics)

    def apply(self, carry, update):
        return carry._replace(params=carry.params - self.rate * update)


class NoisyDriver(CompiledDriver):
    batch = None

    def __init__(self, seed=0, kernel=None):
        super().__init__(types.SimpleNamespace(parameters=jnp.array([1.0, -2.0, 0.5])))
        self._kernel = kernel or NoisyKernel()
        self.momentum, self.key = jnp.zeros(3), jax.random.key(seed)

    @property
    def kernel(self):
        return self._kernel

    @property
    def carry(self):
        return Carry(self.state.parameters, self.momentum, self.key)

    @carry.setter
    def carry(self, carry):
        self.state.parameters, self.momentum, self.key = carry

    @property
    def bits(self):
        return bits(self)


def bits(driver):
    """All of the carry, as bytes."""

    def plain(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()

    return [plain(leaf) for leaf in jax.tree.leaves(driver.carry)]
