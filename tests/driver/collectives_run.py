"""A step of which it is known what devices send one another: `python -m ...` on four devices."""

import dataclasses
import json
import sys
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ritz.driver import CompiledDriver, Kernel, Proposal
from ritz.testing.collectives import block_collectives, step_collectives

N_SAMPLES, N_PARAMETERS, N_INNER = 24, 3, 5


class Carry(NamedTuple):
    params: jax.Array
    samples: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sharded(Kernel):
    """Samples lie on all devices: one mean in each pass of an inner loop, and their Gram matrix."""

    def sample(self, carry):
        return carry, carry.samples

    def propose(self, carry, batch):
        def closer(_, params):
            return params - 0.1 * jnp.mean(batch * params, axis=0)

        params = jax.lax.fori_loop(0, N_INNER, closer, carry.params)
        gram = batch @ batch.T  # gathers the samples
        return carry, Proposal(jnp.sum(gram @ batch), params, {})

    def apply(self, carry, update):
        return carry._replace(params=carry.params - 0.1 * update)


class ShardedDriver(CompiledDriver):
    batch = None
    kernel = Sharded()

    def __init__(self):
        mesh = Mesh(jax.devices(), ("samples",))
        samples = jnp.arange(float(N_SAMPLES * N_PARAMETERS)).reshape(N_SAMPLES, N_PARAMETERS)
        super().__init__(types.SimpleNamespace(parameters=jnp.ones(N_PARAMETERS)))
        self.samples = jax.device_put(samples, NamedSharding(mesh, PartitionSpec("samples")))

    @property
    def carry(self):
        return Carry(self.state.parameters, self.samples)

    @carry.setter
    def carry(self, carry):
        self.state.parameters, self.samples = carry


if __name__ == "__main__":
    driver = ShardedDriver()
    driver.run(2, show_progress=False)
    json.dump([step_collectives(driver), block_collectives(driver)], sys.stdout)
