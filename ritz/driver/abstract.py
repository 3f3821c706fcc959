"""The base class of all drivers: a state, a step counter, and the run loop."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from ritz.driver.arguments import as_callback
from ritz.driver.callback import AbstractCallback
from ritz.driver.guarded import Guarded
from ritz.driver.hooks import CallbackTable, HookList
from ritz.driver.loop import StepInfo
from ritz.driver.running import Running
from ritz.driver.stop import DeferredAccessError, StopReason


class AbstractDriver(Running, Guarded):
    """Runs an optimisation: `run` repeats reset, compute and update, with hooks in between.

    A subclass implements `reset_step`, `compute_loss_and_update` and `update_parameters` in plain
    Python or JAX, and gets callbacks, loggers, retries, signals and stop conditions with them.

    Args:
        state: What is optimised. Nothing is asked of it but an attribute `parameters`, a pytree
            of arrays.
        minimized_quantity_name: The key of the loss in `log_data`.
    """

    adjustable: ClassVar[frozenset[str]] = frozenset()
    """Which of the settings `rate_scale`, `damping_scale` and `chunk_sizes` the driver obeys."""

    logs: ClassVar[tuple[str, ...]] = ()
    """What is logged, but not at every step."""

    period: tuple[str, int] = ("step", 1)
    """The name of the interval at whose end `logs` appear in a row, and its length in steps.

    Messages of stop conditions speak of it: `("epoch", 40)` gives "no better for 5 epochs".
    """

    rate_scale: float = 1.0
    """Multiplies every step that the optimiser takes, where `adjustable` has it."""

    damping_scale: float = 1.0
    """Multiplies the diagonal shift of the update rule, where `adjustable` has it."""

    working_dir: Path = Path()
    """The folder in which loggers place what has a relative path."""

    stage_name: str = "run"
    """How loggers call this run where they were given no name."""

    def __init__(self, state: Any, minimized_quantity_name: str = "loss"):
        self._variational_state = state
        self._loss_name = minimized_quantity_name
        self._loss_stats: Any = None
        self._dp: Any = jax.tree.map(np.zeros_like, getattr(state, "parameters", None))
        self._step_count = 0
        self._step_attempt = 0
        self._went_back = False
        self._stop_reason: StopReason | None = None
        self._stop_message = ""
        self._hooks = HookList(())
        self._target_step = 0
        self._clock_start: float | None = None
        self._elapsed = 0.0
        self._after_step: list[Callable[[], None]] = []
        self._after_steps: list[Callable[[], None]] = []

    # What a subclass implements.

    def reset_step(self) -> None:
        """Forget the samples of the last attempt; called before each attempt."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_step(self).")

    def compute_loss_and_update(self) -> tuple[Any, Any]:
        """Compute the loss at the present parameters and the update, and move nothing.

        Returns:
            The loss (a number, or an object with attributes such as `mean`), and the update in
            the form that `update_parameters` takes.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define compute_loss_and_update(self) -> loss, update."
        )

    def update_parameters(self, update: Any) -> None:
        """Move the parameters by `update`; the loop counts the step."""
        raise NotImplementedError(f"{type(self).__name__} must define update_parameters(self, dp).")

    def trial_loss(self, update: Any) -> Any:
        """The loss after `update`, on the samples of this step; changes nothing.

        Raises:
            NotImplementedError: If the driver cannot evaluate it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot evaluate a trial loss; define trial_loss(self, update)."
        )

    def estimate(self, observables: Any, fullsum: bool = False) -> Any:
        """Expectation values in the present state.

        Args:
            observables: One observable, or a dict or list of them.
            fullsum: Whether to sum over all configurations instead of the samples.

        Returns:
            The same structure with statistics in place of observables.
        """
        if isinstance(observables, Mapping):
            return {k: self.estimate(v, fullsum) for k, v in observables.items()}
        if isinstance(observables, list | tuple):
            return [self.estimate(v, fullsum) for v in observables]
        return self._estimate_one(observables, fullsum)

    def check_observable(self, observable: Any) -> None:
        """Refuse what `estimate` cannot take; asked before a run.

        Raises:
            TypeError: If it is no observable of this driver.
            ValueError: If it does not fit the state.
        """

    def _estimate_one(self, observable: Any, fullsum: bool) -> Any:
        if fullsum:
            raise NotImplementedError(f"{type(self).__name__} cannot sum over all configurations.")
        return self.state.expect(observable)

    def _accept_step(self) -> bool:
        """Asked once no callback has rejected the attempt; False rejects it."""
        return True

    def _log_additional_data(self, log_data: dict[str, Any]) -> None:
        """Add to an accepted row; called before `before_parameter_update`."""

    # What callbacks and users read.

    @property
    def state(self) -> Any:
        """What is optimised.

        Raises:
            DeferredAccessError: In a deferred hook of a step that ran within a block.
        """
        self._refuse_deferred("asked for driver.state")
        return self._variational_state

    @property
    def settled_state(self) -> Any:
        """The state where it is that of the present step, also in a block; None elsewhere.

        For callbacks that take the state whenever it can be had: within a block that is in
        `on_step_end` of its last step, in other steps always.
        """
        return self.state

    @property
    def block(self) -> range | None:
        """The steps of the block whose hooks are being called; None in a live step."""
        return self._block

    def _refuse_deferred(self, what: str) -> None:
        if self._block is not None:
            raise DeferredAccessError(what, self._step_count, self._block)

    def after_step(self, action: Callable[[], None]) -> None:
        """Call `action` when the present step has ended and all callbacks got its hooks.

        So a deferred callback can change the driver for the steps that follow: a block ends here.
        The action is dropped if the update is not applied, or if a callback fails.
        """
        self._after_step.append(action)

    def after_steps(self, action: Callable[[], None]) -> None:
        """Call `action` when the run ends well, before any callback gets `on_run_end`.

        Asked for in `on_run_start`, for what must see the state as the steps left it.
        """
        self._after_steps.append(action)

    def traces(self, callback: AbstractCallback) -> bool:
        """Whether the traced part of `callback` sees the steps of this run, see `CompiledDriver`.

        If not, its hooks do all the work.
        """
        return False

    @property
    def parameters(self) -> Any:
        """The parameters of `state`, a pytree of arrays; may be set."""
        return self.state.parameters

    @parameters.setter
    def parameters(self, parameters: Any) -> None:
        self.state.parameters = parameters

    @property
    def step_count(self) -> int:
        """How many updates were applied since the driver was made."""
        return self._step_count

    @property
    def step_attempt(self) -> int:
        """How many attempts at the present step were rejected so far."""
        return self._step_attempt

    @property
    def loss(self) -> Any:
        """The loss of the present step; None before the first."""
        return self._loss_stats

    @loss.setter
    def loss(self, loss: Any) -> None:
        self._loss_stats = loss

    @property
    def loss_name(self) -> str:
        """The key of the loss in `log_data`."""
        return self._loss_name

    @property
    def update(self) -> Any:
        """The update of the present step; a callback may set another before it is applied.

        Raises:
            DeferredAccessError: In a deferred hook of a step that ran within a block.
        """
        self._refuse_deferred("asked for driver.update")
        return self._dp

    @update.setter
    def update(self, update: Any) -> None:
        self._refuse_deferred("set driver.update")
        self._dp = update

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the last run ended; None while the first one goes on."""
        return self._stop_reason

    @property
    def stop_message(self) -> str:
        """Why the last run ended, with who stopped it and what they said."""
        return self._stop_message

    @property
    def target_step(self) -> int:
        """The step count at which the present (or last) run ends if nothing stops it."""
        return self._target_step

    @property
    def callbacks(self) -> CallbackTable:
        """The callbacks of the present (or last) run in calling order; prints as a table."""
        return CallbackTable(self._hooks.callbacks)

    @property
    def hooks(self) -> HookList:
        """The dispatcher of the present (or last) run."""
        return self._hooks

    def snapshot_parameters(self) -> Any:
        """A copy of the parameters that later updates leave alone."""
        return jax.tree.map(copy.copy, self.parameters)

    def snapshot(self) -> Any:
        """All that `restore` needs to undo later updates."""
        return self.snapshot_parameters()

    def restore(self, snapshot: Any, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; `step_count` keeps counting the updates that were applied.

        Args:
            snapshot: What `snapshot` gave.
            fresh_samples: Whether random numbers go on from where they are, instead of
                repeating what followed the snapshot.
        """
        self.parameters = jax.tree.map(copy.copy, snapshot)

    # What a checkpoint needs besides `snapshot`.

    @property
    def settings(self) -> dict[str, Any]:
        """All on which the results depend besides the state: name -> value.

        A run is resumed only with the same settings, as `ritz.driver.description` tells them.
        """
        return {"driver": type(self)}

    @property
    def elapsed(self) -> float:
        """The `wallclock` of the last row, in seconds."""
        return self._elapsed

    def resume_at(self, step: int, elapsed: float) -> None:
        """Count steps from `step` on, and `wallclock` from `elapsed` seconds on."""
        self._step_count = step
        self._elapsed = elapsed
        self._clock_start = time.perf_counter() - elapsed

    # What the loop calls.

    def begin_run(self) -> None:
        """Called before a run."""

    def end_run(self) -> None:
        """Called after a run, however it ended."""

    @property
    def may_reject(self) -> bool:
        """Whether the driver itself may reject a step."""
        own = AbstractDriver._accept_step
        return getattr(self._accept_step, "__func__", self._accept_step) is not own

    @property
    def waits_for_step(self) -> bool:
        """Whether anything waits for the end of the present step, see `after_step`."""
        return bool(self._after_step)

    def plan_block(self, first: int) -> int:
        """How many steps from `first` on this process would take as a block; 0 if it is live."""
        return 0

    def take_back(self, step: int, filled: bool, counted: bool) -> bool:
        """Go back to an earlier step of the block whose hooks are called.

        Args:
            step: The step.
            filled: Whether its row was filled there.
            counted: Whether its update had been applied.

        Returns:
            Whether that was possible.
        """
        return False

    def begin_step(self, hooks: HookList) -> None:
        """Called before each step; a driver with a kernel may compute a block of them."""

    def replay_block(self, hooks: HookList, each: bool) -> Iterator[StepInfo]:
        """Go through the steps of a block but its last, as far as only rows and hooks matter there.

        Args:
            hooks: The callbacks.
            each: Whether somebody waits for each step; if not, steps without hooks are skipped.

        Yields:
            What `steps` yields.
        """
        yield from ()

    def settle(self) -> None:
        """Called when a run leaves its steps: bring the state to the steps that were counted."""
        self.leave_diverged()

    def begin_attempt(self, attempt: int) -> None:
        """Note that attempt number `attempt` of the present step begins."""
        self._step_attempt = attempt
        self._went_back = False

    def count_step(self, counted: bool, whole: bool = True) -> None:
        """Count the step that has ended, and do what waits for that.

        Args:
            counted: Whether its update was applied; it does not count if `take_back` was called
                since.
            whole: Whether all callbacks got its hooks.
        """
        counted = counted and not self._went_back
        if counted:
            self._step_count += 1
        self._guard.in_step = 0
        if self._after_step:
            actions, self._after_step = self._after_step, []
            for action in actions if counted and whole else ():
                self._hooks.act(action, self._step_count)

    def leave_steps(self) -> None:
        """Do what waits for the end of the run's steps."""
        actions, self._after_steps = self._after_steps, []
        for action in actions:
            action()

    def fill_row(self, log_data: dict[str, Any]) -> None:
        """Add the loss and what the driver logs to the row of an accepted step."""
        if self._loss_stats is not None:
            log_data[self._loss_name] = self._loss_stats
        if self._step_attempt:
            log_data["attempts"] = self._step_attempt + 1
        if self._guard.in_step:
            log_data["retries"] = self._guard.in_step
        self._log_additional_data(log_data)
        now = self._clock()
        if self._clock_start is None:
            self._clock_start = now
        log_data["wallclock"] = self._elapsed = now - self._clock_start

    def _clock(self) -> float:
        """When the present step's loss was known."""
        return time.perf_counter()

    def set_stop_reason(self, reason: StopReason, message: str) -> None:
        """Note why the run is ending."""
        self._stop_reason, self._stop_message = reason, message

    def adapt(self, plugin: Any, argument: str) -> AbstractCallback:
        """Turn what was given to `run` as `argument` into a callback, or raise TypeError."""
        return as_callback(plugin, argument)
