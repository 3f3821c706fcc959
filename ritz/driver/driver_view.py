"""The part of a driver that callbacks and users see."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.driver.assigned_update import check_update
from ritz.driver.callback import AbstractCallback
from ritz.driver.hooks import CallbackTable, HookList
from ritz.driver.run_state import RunState
from ritz.driver.stop import DeferredAccessError, StopReason
from ritz.html import never_fails, table, titled
from ritz.types import Loss


class DriverView:
    """Attributes of a driver that callbacks read and change in a step, and users after a run.

    The attributes `_variational_state`, `_loss_name`, `_loss_stats`, `_dp`, `_step_count` and
    `_step_attempt` have the names that callbacks written for NetKet look for.
    """

    def __init__(self, state: object, minimized_quantity_name: str):
        self.run_state = RunState()
        self._variational_state: Any = state
        self._loss_name = minimized_quantity_name
        self._loss_stats: Loss = None
        self._dp: PyTree = jax.tree.map(_zeros_like, getattr(state, "parameters", None))

    @never_fails
    def _repr_html_(self) -> str:
        steps, seconds = self.step_count, self.elapsed
        reason = self.stop_reason
        rows = [
            ("steps", steps),
            ("wallclock", f"{seconds:.3g} s"),
            ("steps per second", f"{steps / seconds:.3g}" if seconds else "unknown"),
            (self.loss_name, "no step yet" if self._loss_stats is None else self._loss_stats),
            ("end", "has not ended" if reason is None else f"{reason.value}: {self.stop_message}"),
        ]
        settings = getattr(self, "settings", None)
        rows += settings.items() if isinstance(settings, dict) else []
        return titled(type(self).__name__, table(rows))

    @property
    def state(self) -> Any:
        """The state that is optimised.

        Raises:
            DeferredAccessError: In a deferred hook of a step that ran within a block.
        """
        self._refuse_deferred("asked for driver.state")
        return self._variational_state

    @property
    def settled_state(self) -> Any:
        """The state if it is that of the present step, also in a block; None otherwise.

        For callbacks that use the state whenever it is available: within a block only in
        `on_step_end` of its last step, in live steps always.
        """
        return self.state

    @property
    def block(self) -> range | None:
        """The steps of the block whose hooks are being called; None in a live step."""
        return self.run_state.block

    def _refuse_deferred(self, what: str) -> None:
        block = self.run_state.block
        if block is not None:
            raise DeferredAccessError(what, self.step_count, block)

    def after_step(self, action: Callable[[], None]) -> None:
        """Call `action` after all hooks of the present step.

        So a deferred callback can change the driver for the steps that follow: a block ends here.
        The action is dropped if the update is not applied, or if a callback fails.
        """
        self.run_state.after_step.append(action)

    def after_steps(self, action: Callable[[], None]) -> None:
        """Call `action` when the run ends well, before any callback gets `on_run_end`.

        Called in `on_run_start` by callbacks that need the state as the last step left it.
        """
        self.run_state.after_steps.append(action)

    def traces(self, callback: AbstractCallback) -> bool:
        """Whether the traced part of `callback` sees the steps of this run, see `CompiledDriver`.

        If not, its hooks must do the work.
        """
        return False

    @property
    def parameters(self) -> PyTree:
        """The parameters of `state`, a pytree of arrays; may be set."""
        return self.state.parameters

    @parameters.setter
    def parameters(self, parameters: PyTree) -> None:
        self.state.parameters = parameters

    @property
    def step_count(self) -> int:
        """Number of updates applied since the driver was made."""
        return self.run_state.step_count

    @property
    def step_attempt(self) -> int:
        """Number of rejected attempts at the present step."""
        return self.run_state.attempt

    @property
    def loss(self) -> Loss:
        """The loss of the present step; None before the first."""
        return self._loss_stats

    @loss.setter
    def loss(self, loss: Loss) -> None:
        self._loss_stats = loss

    @property
    def loss_name(self) -> str:
        """The key of the loss in `log_data`."""
        return self._loss_name

    @property
    def update(self) -> PyTree:
        """The update of the present step; a callback may set another before it is applied.

        Raises:
            DeferredAccessError: In a deferred hook of a step that ran within a block.
            ValueError: If it is set to a tree of another structure, or with arrays of other shapes
                or kinds of numbers.
        """
        self._refuse_deferred("asked for driver.update")
        return self._dp

    @update.setter
    def update(self, update: PyTree) -> None:
        self._refuse_deferred("set driver.update")
        if self._dp is not None:
            check_update(update, self._dp)
        self._dp = update

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the last run ended; None while the first one goes on."""
        return self.run_state.stop_reason

    @property
    def stop_message(self) -> str:
        """Why the last run ended, with the callbacks that stopped it and their reasons."""
        return self.run_state.stop_message

    @property
    def target_step(self) -> int:
        """The step count at which the present (or last) run ends if nothing stops it."""
        return self.run_state.target_step

    @property
    def callbacks(self) -> CallbackTable:
        """The callbacks of the present (or last) run in calling order; prints as a table."""
        return CallbackTable(self.run_state.hooks.callbacks)

    @property
    def hooks(self) -> HookList:
        """The `HookList` of the present (or last) run."""
        return self.run_state.hooks

    @property
    def _step_count(self) -> int:
        return self.run_state.step_count

    @property
    def _step_attempt(self) -> int:
        return self.run_state.attempt

    @property
    def elapsed(self) -> float:
        """The `wallclock` of the last row, in seconds."""
        return self.run_state.elapsed

    @property
    def max_attempts(self) -> int:
        """Limit of attempts at one step in the present (or last) run."""
        return self.run_state.options.max_attempts

    def hold(self, resource: contextlib.AbstractContextManager[object]) -> None:
        """Enter a context manager and leave it when the run has ended, failed or been refused.

        For callbacks that need something before the run is accepted, in `check_run`.
        """
        self.run_state.resources.enter_context(resource)


def _zeros_like(leaf: Any) -> np.ndarray:
    """Zeros of the shape and type of an array, of which other processes may have parts."""
    return np.zeros(np.shape(leaf), getattr(leaf, "dtype", None))
