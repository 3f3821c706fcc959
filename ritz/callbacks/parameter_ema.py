"""An exponential moving average of the parameters."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

from ritz.callbacks.monitor import check_number
from ritz.driver.callback import AbstractCallback


def _blend(average: Any, parameters: Any, keep: float) -> Any:
    return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, parameters)


_compiled_blend = jax.jit(_blend)


def _weighted_mean(average: Any, parameters: Any, keep: float) -> Any:
    """Compiled for JAX's arrays; NumPy's keep their precision whatever JAX is set to."""
    on_device = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(parameters))
    return (_compiled_blend if on_device else _blend)(average, parameters, keep)


class ParameterEMA(AbstractCallback):
    """Averages the parameters over the steps, to evaluate with less noise than the last ones.

    After t updates the average is sum_i decay^(t-i) theta_i / sum_i decay^(t-i): without a bias
    towards the first parameters (Kingma and Ba, arXiv 1412.6980, section 3).

    Args:
        decay: The weight that a step keeps in the next one, in [0, 1).
        start_from_step: Earlier steps are left out.
    """

    state_fields = ("parameters", "weight")

    def __init__(self, decay: float = 0.99, start_from_step: int = 0):
        check_number("decay", decay, 0)
        if decay >= 1:
            raise ValueError(f"decay must be below 1, but {decay!r} was given.")
        self.decay = decay
        self.start_from_step = start_from_step
        self.parameters: Any = None
        """The average; None before the first step."""
        self.weight = 0.0

    def on_step_end(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Take the new parameters in."""
        if step < self.start_from_step:
            return
        new_weight = self.decay * self.weight + 1
        keep = self.decay * self.weight / new_weight
        current = driver.snapshot_parameters()
        self.parameters = (
            current if self.parameters is None else _weighted_mean(self.parameters, current, keep)
        )
        self.weight = new_weight

    @contextlib.contextmanager
    def swapped(self, driver: Any) -> Iterator[None]:
        """Within the block the driver has the averaged parameters, afterwards its own again.

        Raises:
            RuntimeError: If no step was averaged yet.
        """
        if self.parameters is None:
            raise RuntimeError("there is no average yet: run at least one step first.")
        own = driver.parameters
        driver.parameters = self.parameters
        try:
            yield
        finally:
            driver.parameters = own
