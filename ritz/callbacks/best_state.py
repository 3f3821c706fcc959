"""Keeps the best parameters of a run."""

import math
from collections.abc import Hashable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from typing_extensions import override

from ritz.callbacks.monitor import check_mode, check_monitor, find, mean_and_error, read_monitor
from ritz.checks import check_number
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.signatures import suggests_names
from ritz.types import Row


class BestState(AbstractCallback):
    """Keeps the parameters with the best monitored quantity, judged by mean plus `z` errors.

    A noisy estimate far below the others is often just noise; adding its error bar keeps such a
    fluctuation from being called the best. The first of equal scores is kept. Steps whose numbers
    are not finite, or whose rows are marked as `suspect`, are never the best.

    In drivers with a kernel it is compiled into the steps and judges in the precision of the
    loss. There it forces no step to be live, unless another callback logs the quantity.

    Args:
        monitor: A logged quantity such as "Energy", or a part of the loss such as "mean".
        z: How many error bars are added to the mean ("min") or taken off it ("max").
        restore: Whether to put the best parameters into the driver when the run ends, also
            after an error.
        mode: "min" if lower is better, "max" if higher is.
    """

    state_fields = ("best_score", "best_value", "best_step", "parameters")
    traced_at = "before_parameter_update"
    decides = False

    @suggests_names
    def __init__(
        self, monitor: str = "mean", z: float = 1.0, restore: bool = False, mode: str = "min"
    ):
        self.monitor = check_monitor(monitor)
        self.z = check_number("z", z, 0)
        self.restore = restore
        self.mode = check_mode(mode)
        self.best_score = math.inf
        self.best_value = math.nan
        self.best_step: int | None = None
        self.parameters: PyTree = None
        """The best parameters; None before the first step."""
        self._loss_name = ""

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self._loss_name = driver.loss_name
        if self.restore and driver.changes_besides:
            raise ValueError(
                "BestState(restore=True) would put back the parameters of an earlier step, but not "
                f"{driver.changes_besides}; leave out restore."
            )

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Keep the parameters, which are those of the loss, if the score is the best so far."""
        if driver.traces(self) or driver.doubts:
            return
        found = read_monitor(self.monitor, log_data, driver)
        if found is None:
            return
        value, error = found
        score = (value if self.mode == "min" else -value) + self.z * (
            error if math.isfinite(error) else 0.0
        )
        if math.isfinite(score) and score < self.best_score:
            self.best_score, self.best_value, self.best_step = score, value, step
            self.parameters = driver.snapshot_parameters()

    @property
    @override
    def traced_settings(self) -> Hashable:
        return self.monitor, self.z, self.mode, self._loss_name

    @override
    def init_traced(self, carry: PyTree) -> PyTree:
        best = carry.params
        if self.parameters is not None:
            best = jax.tree.map(lambda b, p: jnp.asarray(b, p.dtype), self.parameters, best)
        return {
            "score": jnp.asarray(self.best_score, float),
            "value": jnp.asarray(self.best_value, float),
            "step": jnp.asarray(-1 if self.best_step is None else self.best_step, jnp.int32),
            "parameters": best,
        }

    @override
    def traced(self, callback_carry: PyTree, carry: PyTree, metrics: Row) -> PyTree:
        value, error = mean_and_error(*find(self.monitor, metrics, self._loss_name))
        penalty = self.z * jnp.asarray(jnp.where(jnp.isfinite(error), error, 0))
        score = (value if self.mode == "min" else -value) + penalty
        better = (score < callback_carry["score"]) & jnp.isfinite(score)
        for doubt in metrics.get("doubts", {}).values():
            better &= ~doubt
        found = {
            "score": score,
            "value": value,
            "step": metrics["step"],
            "parameters": carry.params,
        }
        return jax.tree.map(
            lambda new, old: jnp.where(better, new, old).astype(old.dtype), found, callback_carry
        )

    @override
    def load_traced(self, callback_carry: PyTree) -> None:
        best = jax.device_get({k: v for k, v in callback_carry.items() if k != "parameters"})
        if best["step"] >= 0:
            self.best_score, self.best_value = float(best["score"]), float(best["value"])
            self.best_step, self.parameters = int(best["step"]), callback_carry["parameters"]

    def load_into(self, driver: AbstractDriver) -> None:
        """Give the best parameters to `driver`, if there are any."""
        if self.parameters is not None:
            driver.parameters = self.parameters

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        if self.restore:
            self.load_into(driver)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        if self.restore:
            self.load_into(driver)
