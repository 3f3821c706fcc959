"""A driver."""

import types

import numpy as np

from ritz.driver import AbstractDriver


class Newton(AbstractDriver):
    """Newton's method for the minimum of cosh(x - 2), damped."""

    def __init__(self) -> None:
        super().__init__(types.SimpleNamespace(parameters=np.array(0.0)), "cosh")

    def reset_step(self) -> None:
        """Draw what the step needs: here nothing."""

    def compute_loss_and_update(self) -> tuple[float, np.ndarray]:
        """The loss, and the direction that the parameters take."""
        x = float(self.parameters) - 2
        return float(np.cosh(x)), np.tanh(x)

    def update_parameters(self, dp: np.ndarray) -> None:
        """Take half of the step `dp` that `compute_loss_and_update` has given."""
        self.parameters = self.parameters - 0.5 * dp
