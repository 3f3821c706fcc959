"""A kernel in which something is not finite at one step."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ritz.driver import CompiledDriver, Kernel, Proposal


class Carry(NamedTuple):
    params: jax.Array
    count: jax.Array
    key: jax.Array
    rate_scale: jax.Array


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Fragile(Kernel):
    """Descends |theta|^2 with noise; something breaks at step `at`, for ever or by chance."""

    breaks: str = "loss"
    at: int = -1
    chance: float = 1.0

    def sample(self, carry):
        key, own = jax.random.split(carry.key)
        return carry._replace(key=key), jax.random.uniform(own, (2,))

    def propose(self, carry, batch):
        broken = (carry.count == self.at) & (batch[0] < self.chance)
        value = jnp.sum(carry.params**2) + 0.01 * batch[1]
        update = 0.001 * (2 * carry.params + 0.01 * batch)
        if self.breaks == "loss":
            value = jnp.where(broken, jnp.nan, value)
        elif self.breaks == "update":
            update = jnp.where(broken, jnp.nan, update)
        elif self.breaks == "leap":
            update = jnp.where(broken, 1e200, update)  # whose square is infinite
        elif self.breaks == "parameters":
            update = jnp.where(broken, 1e308, update)
        return carry, Proposal(value, update, {})

    def apply(self, carry, update):
        params = carry.params - 100 * carry.rate_scale * update
        return carry._replace(params=params, count=carry.count + 1)


class FragileDriver(CompiledDriver):
    adjustable = frozenset({"rate_scale"})
    batch: Any = None

    def __init__(self, **kernel):
        state = type("State", (), {"parameters": jnp.array([1.0, -1.0])})()
        super().__init__(state)
        self._kernel = Fragile(**kernel)
        self._rest = (jnp.int32(0), jax.random.key(1), jnp.ones(()))

    @property
    def kernel(self):
        return self._kernel

    @property
    def carry(self):
        return Carry(self.state.parameters, *self._rest)

    @carry.setter
    def carry(self, carry):
        self.state.parameters, self._rest = carry[0], carry[1:]

    @property
    def rate_scale(self):
        return float(self._rest[2])

    @rate_scale.setter
    def rate_scale(self, scale):
        if hasattr(self, "_rest"):
            self._rest = (*self._rest[:2], jnp.asarray(scale, float))
