"""A cheap driver for tests: gradient descent on a parabola, with noise."""

import types
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.types import Loss


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
        parameters: Where the minimisation begins, an array or a pytree of them; by default one
            array of two numbers.
        statistics: Whether the loss comes with its error and variance; otherwise it is a number.
    """

    adjustable = frozenset({"rate_scale", "damping_scale", "chunk_sizes"})

    def __init__(
        self,
        noise: float = 0.0,
        rate: float = 0.25,
        seed: int = 0,
        *,
        parameters: PyTree | None = None,
        statistics: bool = True,
    ):
        start = np.array([1.0, -1.0]) if parameters is None else parameters
        super().__init__(types.SimpleNamespace(parameters=start), "loss")
        self.statistics = statistics
        self.noise = noise
        self.rate = rate
        self.random = np.random.default_rng(seed)
        self.chunk_sizes: dict[str, int | None] = {"samples": None}
        self.whole_sizes = {"samples": 64}
        self.updates = 0

    def _loss(self, parameters: PyTree, noise: float = 0.0) -> Loss:
        squares = [float(np.sum(leaf**2)) for leaf in jax.tree.leaves(parameters)]
        value = 1 + sum(squares) + noise
        return QuadraticStats(value, self.noise, self.noise**2) if self.statistics else value

    @override
    def reset_step(self) -> None:
        pass

    @override
    def compute_loss_and_update(self) -> tuple[Loss, PyTree]:
        noise = self.noise * self.random.standard_normal()
        return self._loss(self.parameters, noise), jax.tree.map(lambda x: 2 * x, self.parameters)

    def _step(self, update: PyTree) -> PyTree:
        rate = self.rate * self.rate_scale / self.damping_scale
        return jax.tree.map(lambda x, dx: x - rate * dx, self.parameters, update)

    @override
    def update_parameters(self, update: PyTree) -> None:
        self.parameters = self._step(update)
        self.updates += 1

    @override
    def trial_loss(self, update: PyTree) -> Loss:
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


def nested_parameters() -> PyTree:
    """Parameters as networks have them: arrays in a nested dict."""
    return {"dense": {"kernel": np.array([[1.0, -1.0]]), "bias": np.array([0.5])}}
