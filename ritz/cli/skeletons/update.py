"""An update rule."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ritz.updates import AbstractUpdateRule


@dataclasses.dataclass(frozen=True)
class Normalised(AbstractUpdateRule):
    """The gradient, divided by its norm."""

    def init(self, params: Any, problem: Any) -> Any:
        """The state before the first step, of which this rule has none."""
        return ()

    def update(self, state: Any, problem: Any, params: Any, key: Any) -> Any:
        """The direction, the next state, and numbers for the row."""
        vector = problem.scores().conj().T @ problem.residuals
        norm = jnp.linalg.norm(vector)
        return problem.to_parameters(vector / norm), state, {"gradient_norm": norm}
