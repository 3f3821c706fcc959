"""Logs the size of parameters and updates."""

from collections.abc import Hashable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import AbstractDriver, Proposal
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.signatures import suggests_names
from ritz.types import Row


@jax.jit
def _norms(parameters: PyTree, update: PyTree) -> dict[str, jax.Array]:
    filled = [leaf for leaf in jax.tree.leaves(update) if jnp.size(leaf)]
    return {
        "parameters": optax.tree.norm(parameters),
        "update": optax.tree.norm(update),
        "update_max": optax.tree.norm(filled, ord=jnp.inf),
    }


class NormMonitor(AbstractCallback):
    """Logs the 2-norms of the parameters and the update, and the update's largest entry.

    They appear as `norms.parameters`, `norms.update` and `norms.update_max`.

    Args:
        interval: Measure at steps that are multiples of this.
    """

    callback_order = CallbackOrder.OBSERVE
    decides = False
    logs = ("norms",)

    @suggests_names
    def __init__(self, interval: int = 1):
        self.interval = check_count("interval", interval, 1)

    @override
    def traced_metrics(self, carry: PyTree, proposal: Proposal) -> Row:
        return {"norms": _norms(carry.params, proposal.update)}

    @property
    @override
    def traced_settings(self) -> Hashable:
        return ()

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Add the norms to the row, at multiples of `interval`."""
        if step % self.interval:
            log_data.pop("norms", None)
        elif "norms" not in log_data:
            norms = jax.device_get(_norms(driver.parameters, driver.update))
            log_data["norms"] = {name: float(value) for name, value in norms.items()}

    is_live = never_live
