"""How a driver runs: the arguments of `run`, and the loop that they set in motion."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ritz.driver import watchdog
from ritz.driver.arguments import assemble, check_choice, check_count, listed, resume_run
from ritz.driver.consensus import OtherProcessFailed, together
from ritz.driver.divergence import POLICIES
from ritz.driver.hooks import HookList
from ritz.driver.loop import StepInfo, run_loop
from ritz.driver.signatures import suggests_names
from ritz.driver.stop import StopReason

_logger = logging.getLogger("ritz")
_EARLY = (
    StopReason.STOPPED, StopReason.TIMED_OUT, StopReason.INTERRUPTED, StopReason.DIVERGED,
)  # fmt: skip

MAX_ATTEMPTS = 10
"""How often one step may be attempted, unless `run` is told otherwise."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a run takes its steps; see `run`."""

    max_attempts: int = MAX_ATTEMPTS
    max_block: int | None = None
    speculate: bool = True
    resume: bool | str | Path = False
    on_divergence: str | None = None
    each: bool = False
    """Whether somebody waits for each step."""

    def check(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ValueError: Naming the argument.
        """
        check_count("max_attempts", self.max_attempts, 1)
        if self.max_block is not None:
            check_count("max_block", self.max_block, 1)
        if self.on_divergence is not None:
            check_choice("on_divergence", self.on_divergence, POLICIES)


class Running:
    """The part of every driver that runs it."""

    _hooks: HookList
    _target_step: int
    _step_count: int
    _stop_reason: StopReason | None
    _stop_message: str
    _after_step: list[Any]
    _after_steps: list[Any]
    adapt: Any
    can_go_back: bool
    _keeps_parameters: bool
    doubts: frozenset[str]
    guard_run: Any
    begin_run: Any
    end_run: Any
    _block: range | None = None
    _running = False
    _registered: tuple[Any, ...] = ()
    _loggers: tuple[Any, ...] = ()
    _resources = contextlib.ExitStack()
    max_attempts = MAX_ATTEMPTS
    """How often one step of the present (or last) run may be attempted."""
    _max_block: int | None = None
    _speculate = True

    def register_hook(self, callback: Any) -> None:
        """Let a callback take part in every run, besides those given to `run`."""
        self._registered = (*self._registered, self.adapt(callback, "callback"))

    @suggests_names
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
        max_attempts: int = MAX_ATTEMPTS,
        max_block: int | None = 1,
        speculate: bool = True,
        resume: bool | str | Path = False,
        on_divergence: str | None = None,
    ) -> Iterator[StepInfo]:
        """The run loop as a generator; takes the arguments of `run` and checks them at once.

        Leaving the loop early (`break`) ends the run well: callbacks get `on_run_end`. Blocks have
        one step unless `max_block` says otherwise, so that the driver's state is there after each;
        in longer ones it can be read after the last step only.

        Yields:
            One `StepInfo` after each step.
        """
        options = RunOptions(max_attempts, max_block, speculate, resume, on_divergence, each=True)
        return self._start(
            n_iter, options, out=out, obs=obs, step_size=step_size, show_progress=show_progress,
            save_params_every=save_params_every, write_every=write_every, callback=callback,
            timeit=timeit,
        )  # fmt: skip

    def _start(self, n_iter: int, options: RunOptions, **plugins: Any) -> Iterator[StepInfo]:
        check_count("n_iter", n_iter, 0)
        options.check()
        plugins["callback"] = [*self._registered, *listed(plugins["callback"])]
        callbacks, self._loggers = assemble(self.adapt, **plugins)
        hooks = HookList(callbacks)
        policy = self._policy(options.on_divergence, hooks)
        return self._with_resources(self._loop(n_iter, hooks, options, policy))

    def _policy(self, asked: str | None, hooks: HookList) -> str:
        if asked == "retry" and not (self.can_go_back and self._keeps_parameters):
            raise ValueError(
                f'on_divergence="retry" needs a driver that can go back, and {type(self).__name__} '
                'cannot; use "stop".'
            )
        tolerated = any(callback.tolerates_divergence for callback in hooks.callbacks)
        return asked or ("ignore" if tolerated else "stop")

    def hold(self, resource: contextlib.AbstractContextManager[Any]) -> None:
        """Enter a context manager until the run is over, in whatever way, also if it is refused.

        For callbacks that need something before the run is accepted, in `check_run`.
        """
        self._resources.enter_context(resource)

    def _with_resources(self, steps: Iterator[StepInfo]) -> Iterator[StepInfo]:
        with contextlib.ExitStack() as self._resources:
            yield from steps

    def _loop(
        self, n_iter: int, hooks: HookList, options: RunOptions, policy: str
    ) -> Iterator[StepInfo]:
        if self._running:
            raise RuntimeError(
                "this driver is running already; finish or close its loop before a second run."
            )
        self.guard_run(policy)
        with watchdog.guard(self._leave):
            yield from self._watched_loop(n_iter, hooks, options)

    def _watched_loop(
        self, n_iter: int, hooks: HookList, options: RunOptions
    ) -> Iterator[StepInfo]:
        driver: Any = self
        self._hooks = hooks
        first = self._step_count
        with together("before the run"):
            for callback in hooks.callbacks:
                callback.check_run(driver, bool(options.resume))
            if options.resume:
                first = resume_run(driver, hooks, options.resume, n_iter)
        self._running = True
        self._max_block, self._speculate = options.max_block, options.speculate
        self.max_attempts = options.max_attempts
        self._target_step = max(first + n_iter, self._step_count)
        self._after_step, self._after_steps = [], []
        self.begin_run()
        try:
            with self._environment():
                n_left = self._target_step - self._step_count
                yield from run_loop(driver, n_left, hooks, options.each)
        finally:
            self._running = False
            self.end_run()
            self._log_end()

    def _leave(self, failed: str) -> None:
        """End the run while its thread waits in vain for a process that has failed."""
        error = OtherProcessFailed(failed)
        self._stop_reason, self._stop_message = StopReason.FAILED, f"failed with {error!r}"
        self._hooks.leave(self._step_count, error, self)

    def _environment(self) -> contextlib.AbstractContextManager[Any]:
        """Settings of the process that hold while the driver runs."""
        return contextlib.nullcontext()

    def _log_end(self) -> None:
        early = self._stop_reason in _EARLY
        doubts = ", ".join(sorted(self.doubts))
        _logger.log(
            logging.WARNING if early or doubts else logging.INFO,
            "Run ended at step %d: %s.%s",
            self._step_count, self._stop_message,
            f" Its last row is suspect: {doubts}." * bool(doubts),
        )  # fmt: skip

    @suggests_names
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
        max_attempts: int = MAX_ATTEMPTS,
        max_block: int | None = None,
        speculate: bool = True,
        resume: bool | str | Path = False,
        on_divergence: str | None = None,
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
            max_block: The most steps that a compiled block takes at once; None for as many as
                take about 0.2 s. 1 calls the hooks of each step right after it. Only drivers with
                a kernel run blocks. The results do not depend on it, bit for bit.
            speculate: Whether a block may take steps that a stop or a rejection takes back. If
                not, the memory for the state before the block is saved, and steps at which a
                callback may do so (`AbstractCallback.decides`) are not part of blocks.
            resume: True goes on from the newest readable checkpoint of the `Checkpoint` in
                `callback`, if there is one, and takes the steps that are left of the `n_iter` that
                were asked for when the saved run began. A path demands a checkpoint there.
            on_divergence: What happens when the loss, the update or the parameters after it are not
                finite. "stop", the default, ends the run before the update, with
                `StopReason.DIVERGED` and the last good state in the driver. "retry" goes back to it
                with other samples and ten times the damping (half the learning rate where there is
                no damping), at most five times in a row. "ignore" goes on.

        Returns:
            The loggers in `out`.

        Raises:
            ValueError: If an argument has a bad value; no hook has run then.
            TypeError: If `out` or `callback` hold something else; no hook has run then.
            StepRejectedError: If one step was rejected `max_attempts` times.
            CheckpointError: If a checkpoint is demanded and cannot be had, or does not fit this
                driver and these callbacks; no hook has run then.
            KeyboardInterrupt: After Ctrl-C, SIGTERM or SIGUSR1, when the step was finished and
                `on_run_end` called, unless Python runs interactively. Where nobody catches it,
                the process ends with the status of the signal, such as 143.
        """
        options = RunOptions(max_attempts, max_block, speculate, resume, on_divergence, each=False)
        steps = self._start(
            n_iter, options, out=out, obs=obs, step_size=step_size, show_progress=show_progress,
            save_params_every=save_params_every, write_every=write_every, callback=callback,
            timeit=timeit,
        )  # fmt: skip
        # Closes the loop properly too if it is interrupted in between.
        with contextlib.closing(steps):  # type: ignore[type-var]
            for _ in steps:
                pass
        return self._loggers
