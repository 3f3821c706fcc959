"""Gradient descent with a fixed rate."""

from collections.abc import Hashable

import jax
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.cell import FrechetCell
from ritz.relax.algorithms.optimizer import AbstractOptimizer, within_longest
from ritz.relax.convergence.convergence_hook import HookLike


class GradientDescent(AbstractOptimizer):
    """Steps along the forces.

    Args:
        rate: Ratio of step to force, in Angstrom^2/eV. It converges only below 2 over the
            largest curvature.
        max_step: The longest step of any atom, in Angstrom; all are scaled with it.
        cell: True, or a `FrechetCell`, to let the cell move too.
        convergence_hook: When structures leave; fmax <= 0.05 by default.
        max_steps: Largest number of steps of a structure.
    """

    @suggests_names
    def __init__(
        self,
        rate: float = 0.01,
        max_step: float = 0.2,
        cell: FrechetCell | bool | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(max_step, cell, convergence_hook, max_steps)
        self.rate = check_positive("rate", rate)

    @property
    @override
    def own_settings(self) -> Hashable:
        return self.rate

    @override
    def start(self, forces: Float[Array, "m 3"]) -> tuple[()]:
        return ()

    @override
    def step(self, state: tuple[()], forces: jax.Array) -> tuple[tuple[()], jax.Array]:
        return (), within_longest(self.rate * forces, self.max_step)
