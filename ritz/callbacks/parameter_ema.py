"""An exponential moving average of the parameters."""

import contextlib
from collections.abc import Hashable, Iterator

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.kernel import TAKEN_BACK
from ritz.driver.signatures import suggests_names
from ritz.types import Row


def _blend(average: PyTree, parameters: PyTree, keep: float) -> PyTree:
    return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, parameters)


_compiled_blend = jax.jit(_blend)


def _weighted_mean(average: PyTree, parameters: PyTree, keep: float) -> PyTree:
    """Compiled for JAX arrays; NumPy arrays keep their precision whatever JAX is set to."""
    on_device = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(parameters))
    return (_compiled_blend if on_device else _blend)(average, parameters, keep)


class ParameterEMA(AbstractCallback):
    """Averages the parameters over the steps, which evaluates with less noise than the last ones.

    In drivers with a kernel it is compiled into the steps and makes none of them live.

    After t updates the average is sum_i decay^(t-i) theta_i / sum_i decay^(t-i): without a bias
    towards the first parameters (Kingma and Ba, arXiv 1412.6980, section 3). Parameters that a
    later step takes back are left out again.

    Args:
        decay: The weight that a step keeps in the next one, in [0, 1).
        start_from_step: Earlier steps are left out.
    """

    state_fields = ("parameters", "weight", "earlier", "earlier_weight")
    decides = False

    @suggests_names
    def __init__(self, decay: float = 0.99, start_from_step: int = 0):
        check_number("decay", decay, 0)
        if decay >= 1:
            raise ValueError(f"decay must be below 1, but {decay!r} was given.")
        self.decay = decay
        self.start_from_step = start_from_step
        self.parameters: PyTree = None
        """The average; None before the first step."""
        self.weight = 0.0
        self.earlier: PyTree = None
        """The average without the last step."""
        self.earlier_weight = 0.0

    @override
    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if step < self.start_from_step or driver.traces(self):
            return
        if TAKEN_BACK in driver.doubts:
            self.parameters, self.weight = self.earlier, self.earlier_weight
        self.earlier, self.earlier_weight = self.parameters, self.weight
        new_weight = self.decay * self.weight + 1
        keep = self.decay * self.weight / new_weight
        current = driver.snapshot_parameters()
        self.parameters = (
            current if self.parameters is None else _weighted_mean(self.parameters, current, keep)
        )
        self.weight = new_weight

    @property
    @override
    def traced_settings(self) -> Hashable:
        return self.decay, self.start_from_step

    @override
    def init_traced(self, carry: PyTree) -> PyTree:
        def known(tree: PyTree) -> PyTree:
            if tree is None:
                return carry.params
            return jax.tree.map(lambda a, p: jnp.asarray(a, p.dtype), tree, carry.params)

        weight, earlier = (jnp.asarray(w, float) for w in (self.weight, self.earlier_weight))
        return known(self.parameters), weight, known(self.earlier), earlier

    @override
    def traced(self, callback_carry: PyTree, carry: PyTree, metrics: Row) -> PyTree:
        average, weight, *earlier = callback_carry
        if TAKEN_BACK in metrics.get("doubts", {}):
            back = metrics["doubts"][TAKEN_BACK]
            average, weight = jax.tree.map(
                lambda then, now: jnp.where(back, then, now), tuple(earlier), (average, weight)
            )
        new_weight = self.decay * weight + 1
        blended = _blend(average, carry.params, self.decay * weight / new_weight)
        counts = metrics["step"] >= self.start_from_step
        return jax.tree.map(
            lambda new, old: jnp.where(counts, new, old).astype(old.dtype),
            (blended, new_weight, average, weight),
            callback_carry,
        )

    @override
    def load_traced(self, callback_carry: PyTree) -> None:
        average, weight, earlier, earlier_weight = callback_carry
        self.weight, self.earlier_weight = float(weight), float(earlier_weight)
        self.parameters = average if self.weight else None
        self.earlier = earlier if self.earlier_weight else None

    @property
    def average(self) -> PyTree:
        """The average, a tree like the parameters.

        Raises:
            RuntimeError: If no step was averaged yet.
        """
        if self.parameters is None:
            raise RuntimeError(
                "there is no average yet; run at least one step first, and not only steps before "
                f"start_from_step={self.start_from_step}."
            )
        return self.parameters

    @contextlib.contextmanager
    def swapped(self, driver: AbstractDriver) -> Iterator[None]:
        """Context in which the driver has the averaged parameters; its own come back afterwards.

        Raises:
            RuntimeError: If no step was averaged yet.
        """
        average, present = self.average, driver.parameters
        driver.parameters = average
        try:
            yield
        finally:
            driver.parameters = present
