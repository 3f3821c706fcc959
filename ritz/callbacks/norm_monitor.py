"""Logs the size of parameters and updates."""

from typing import Any

import jax
import jax.numpy as jnp

from ritz.driver.arguments import check_count
from ritz.driver.callback import AbstractCallback, CallbackOrder


@jax.jit
def _norms(parameters: Any, update: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    def norm(tree: Any) -> jax.Array:
        squares = [jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)]
        return jnp.sqrt(sum(squares, start=jnp.zeros(())))

    largest = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(update) if jnp.size(leaf)]
    return norm(parameters), norm(update), jnp.max(jnp.stack(largest))


class NormMonitor(AbstractCallback):
    """Logs the 2-norms of the parameters and the update, and the update's largest entry.

    They appear as `norms.parameters`, `norms.update` and `norms.update_max`.

    Args:
        interval: Steps between two measurements; they are made at the multiples of it.
    """

    callback_order = CallbackOrder.OBSERVE
    logs = ("norms",)

    def __init__(self, interval: int = 1):
        self.interval = check_count("interval", interval, 1)

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Measure."""
        if self.is_live(step):
            norms = jax.device_get(_norms(driver.parameters, driver.update))
            log_data["norms"] = dict(
                zip(("parameters", "update", "update_max"), map(float, norms), strict=True)
            )

    def is_live(self, step: int) -> bool:
        """Live at the multiples of `interval`."""
        return step % self.interval == 0
