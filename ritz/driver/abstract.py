"""The base class of all drivers: a state, a step counter, and the run loop."""

import copy
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from ritz.driver.arguments import as_callback, assemble, check_count
from ritz.driver.callback import AbstractCallback
from ritz.driver.hooks import CallbackTable, HookList
from ritz.driver.loop import StepInfo, drain, run_loop
from ritz.driver.stop import StopReason

_logger = logging.getLogger("ritz")
_EARLY = (StopReason.STOPPED, StopReason.TIMED_OUT, StopReason.INTERRUPTED)


class AbstractDriver:
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
        self._stop_reason: StopReason | None = None
        self._stop_message = ""
        self._hooks = HookList(())
        self._loggers: tuple[Any, ...] = ()
        self._running = False
        self._target_step = 0
        self._clock_start: float | None = None

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
        """What is optimised."""
        return self._variational_state

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
        """The update of the present step; a callback may set another before it is applied."""
        return self._dp

    @update.setter
    def update(self, update: Any) -> None:
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

    # What the loop calls.

    def begin_attempt(self, attempt: int) -> None:
        """Note that attempt number `attempt` of the present step begins."""
        self._step_attempt = attempt

    def count_step(self, counted: bool) -> None:
        """Count the step that has ended, if its update was applied."""
        self._step_count += int(counted)

    def fill_row(self, log_data: dict[str, Any]) -> None:
        """Add the loss and what the driver logs to the row of an accepted step."""
        if self._loss_stats is not None:
            log_data[self._loss_name] = self._loss_stats
        if self._step_attempt:
            log_data["attempts"] = self._step_attempt + 1
        self._log_additional_data(log_data)
        if self._clock_start is None:
            self._clock_start = time.perf_counter()
        log_data["wallclock"] = time.perf_counter() - self._clock_start

    def set_stop_reason(self, reason: StopReason, message: str) -> None:
        """Note why the run is ending."""
        self._stop_reason, self._stop_message = reason, message

    def adapt(self, plugin: Any, argument: str) -> AbstractCallback:
        """Turn what was given to `run` as `argument` into a callback, or raise TypeError."""
        return as_callback(plugin, argument)

    # Running.

    def steps(
        self,
        n_iter: int,
        out: Any = None,
        obs: Any = None,
        step_size: int = 1,
        show_progress: bool | None = False,
        save_params_every: int = 50,
        write_every: int = 50,
        callback: Any = None,
        timeit: bool = False,
        max_attempts: int = 10,
    ) -> Iterator[StepInfo]:
        """The run loop as a generator; takes the arguments of `run` and checks them at once.

        Leaving the loop early (`break`) ends the run well: callbacks get `on_run_end`.

        Yields:
            One `StepInfo` after each step.
        """
        check_count("n_iter", n_iter, 0)
        check_count("max_attempts", max_attempts, 1)
        callbacks, self._loggers = assemble(
            self.adapt,
            out=out,
            obs=obs,
            step_size=step_size,
            show_progress=show_progress,
            save_params_every=save_params_every,
            write_every=write_every,
            callback=callback,
            timeit=timeit,
        )
        return self._loop(n_iter, HookList(callbacks), max_attempts)

    def _loop(self, n_iter: int, hooks: HookList, max_attempts: int) -> Iterator[StepInfo]:
        if self._running:
            raise RuntimeError(
                "this driver is running already; finish or close its loop before a second run."
            )
        self._hooks, self._running = hooks, True
        self._target_step = self._step_count + n_iter
        try:
            yield from run_loop(self, n_iter, hooks, max_attempts)
        finally:
            self._running = False
            self._log_end()

    def _log_end(self) -> None:
        early = self._stop_reason in _EARLY
        _logger.log(
            logging.WARNING if early else logging.INFO,
            "Run ended at step %d: %s.",
            self._step_count,
            self._stop_message,
        )

    def run(
        self,
        n_iter: int,
        out: Any = None,
        obs: Any = None,
        step_size: int = 1,
        show_progress: bool | None = True,
        save_params_every: int = 50,
        write_every: int = 50,
        callback: Any = None,
        timeit: bool = False,
        max_attempts: int = 10,
    ) -> tuple[Any, ...]:
        """Take `n_iter` steps, fewer if a callback or a signal ends the run.

        Args:
            n_iter: The number of steps, counted from the present `step_count`.
            out: Where rows go: a path prefix (written by `JsonLog`), a logger, or several.
            obs: Name -> observable, estimated every `step_size` steps and logged.
            step_size: See `obs`.
            show_progress: Whether to show a progress bar on stderr.
            save_params_every: For a path in `out`: steps between saves of the parameters.
            write_every: For a path in `out`: steps between rewrites of the log file.
            callback: A callback or several. A plain function `(step, log_data, driver) -> bool`
                stops the run when it returns a false value other than None.
            timeit: Whether to measure hooks and callbacks and show a table at the end.
            max_attempts: How often one step may be attempted.

        Returns:
            The loggers in `out`.

        Raises:
            ValueError: If an argument has a bad value; no hook has run then.
            TypeError: If `out` or `callback` hold something else; no hook has run then.
            StepRejectedError: If one step was rejected `max_attempts` times.
            KeyboardInterrupt: After Ctrl-C or SIGTERM, when the step was finished and
                `on_run_end` called, unless Python runs interactively.
        """
        steps = self.steps(
            n_iter, out, obs, step_size, show_progress, save_params_every, write_every, callback,
            timeit, max_attempts,
        )  # fmt: skip
        drain(steps)
        return self._loggers
