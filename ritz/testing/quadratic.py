"""A cheap driver for tests: gradient descent on a parabola, with noise."""

import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver import AbstractDriver


class QuadraticStats(NamedTuple):
    """A loss with the parts that a Monte Carlo estimate has."""

    mean: float
    error_of_mean: float
    variance: float


class QuadraticDriver(AbstractDriver):
    """Minimises |theta|^2 with loss 1 + |theta|^2 + noise; the update is its gradient.

    It has all adjustable settings, so that any callback can be tried with it, and its noise
    comes from one seeded generator, so that two drivers give the same numbers.

    Args:
        noise: The standard deviation of the loss.
        rate: The learning rate.
        seed: Seed of the noise.
    """

    adjustable = frozenset({"rate_scale", "damping_scale", "chunk_sizes"})

    def __init__(self, noise: float = 0.0, rate: float = 0.25, seed: int = 0):
        super().__init__(types.SimpleNamespace(parameters=np.array([1.0, -1.0])), "loss")
        self.noise = noise
        self.rate = rate
        self.random = np.random.default_rng(seed)
        self.chunk_sizes: dict[str, int | None] = {"samples": None}
        self.whole_sizes = {"samples": 64}
        self.updates = 0

    def _loss(self, parameters: PyTree, noise: float = 0.0) -> QuadraticStats:
        value = 1 + float(np.sum(parameters**2)) + noise
        return QuadraticStats(value, self.noise, self.noise**2)

    @override
    def reset_step(self) -> None:
        pass

    @override
    def compute_loss_and_update(self) -> tuple[QuadraticStats, PyTree]:
        noise = self.noise * self.random.standard_normal()
        return self._loss(self.parameters, noise), 2 * self.parameters

    def _step(self, update: PyTree) -> PyTree:
        return self.parameters - self.rate * self.rate_scale / self.damping_scale * update

    @override
    def update_parameters(self, update: PyTree) -> None:
        self.parameters = self._step(update)
        self.updates += 1

    @override
    def trial_loss(self, update: PyTree) -> QuadraticStats:
        return self._loss(self._step(update))

    def _estimate_one(
        self, observable: Callable[[PyTree], QuadraticStats], fullsum: bool
    ) -> QuadraticStats:
        return observable(self.parameters)

    @override
    def snapshot(self) -> PyTree:
        return self.snapshot_parameters(), self.random.bit_generator.state

    @override
    def restore(self, snapshot: PyTree, *, fresh_samples: bool = False) -> None:
        parameters, random = snapshot
        super().restore(parameters)
        if not fresh_samples:
            self.random.bit_generator.state = random
