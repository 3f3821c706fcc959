"""Keeps the best parameters of each member of a committee."""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ritz.driver.callback import AbstractCallback


class BestMembers(AbstractCallback):
    """What `BestState` does, for each member by its own errors; restores them when the run ends.

    Args:
        monitor: An error that is logged by member, such as "validation_loss".
    """

    state_fields = ("scores", "parameters")
    traced_at = "before_parameter_update"
    decides = False

    def __init__(self, monitor: str = "validation_loss"):
        self.monitor = monitor
        self.scores: np.ndarray | None = None
        """The best so far, by member."""
        self.parameters: Any = None
        """The parameters that had them; None before the first epoch has ended."""

    @property
    def traced_settings(self) -> Hashable:
        """What is compared."""
        return self.monitor

    def init_traced(self, carry: Any) -> Any:
        """The best so far."""
        first = jax.tree.leaves(carry.params)[0]
        best = carry.params
        if self.parameters is not None:
            best = jax.tree.map(lambda b, p: jnp.asarray(b, p.dtype), self.parameters, best)
        scores = np.full(len(first), np.inf) if self.scores is None else self.scores
        return {"scores": jnp.asarray(scores, first.dtype), "parameters": best}

    def traced(self, callback_carry: Any, carry: Any, metrics: dict[str, Any]) -> Any:
        """Compare; errors are NaN where no epoch ends, and then no better."""
        scores = metrics["members"][self.monitor]
        better = scores < callback_carry["scores"]

        def chosen(new: Any, old: Any) -> Any:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        found = {"scores": scores.astype(callback_carry["scores"].dtype)}
        return jax.tree.map(chosen, {**found, "parameters": carry.params}, callback_carry)

    def load_traced(self, callback_carry: Any) -> None:
        """Take over the best."""
        scores = np.asarray(callback_carry["scores"])
        if np.any(np.isfinite(scores)):
            self.scores, self.parameters = scores, callback_carry["parameters"]

    def on_run_end(self, step: int, driver: Any) -> None:
        """Restore."""
        if self.parameters is not None:
            driver.parameters = self.parameters

    def on_run_error(self, step: int, error: BaseException, driver: Any) -> None:
        """Restore."""
        self.on_run_end(step, driver)
