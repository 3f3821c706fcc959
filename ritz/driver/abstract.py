"""The base class of all drivers."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from ritz.driver.arguments import Plugin, Plugins
from ritz.driver.callback import AbstractCallback
from ritz.driver.run_state import MAX_ATTEMPTS, RunOptions, Steps
from ritz.driver.running import start_run
from ritz.driver.signatures import suggests_names
from ritz.driver.stepping import Stepping


class AbstractDriver(Stepping):
    """Runs an optimisation: `run` repeats reset, compute and update, with hooks in between.

    A subclass implements `reset_step`, `compute_loss_and_update` and `update_parameters` in plain
    Python or JAX, and gets callbacks, loggers, retries, signals and stop conditions with them.

    Args:
        state: What is optimised: any object with an attribute `parameters`, a pytree of arrays.
        minimized_quantity_name: The key of the loss in `log_data`.
    """

    def __init__(self, state: object, minimized_quantity_name: str = "loss"):
        super().__init__(state, minimized_quantity_name)
        self._registered: tuple[AbstractCallback, ...] = ()

    def register_hook(self, callback: Plugin) -> None:
        """Let a callback take part in every run, besides those given to `run`."""
        self._registered = (*self._registered, self.adapt(callback, "callback"))

    @suggests_names
    def run(
        self,
        n_iter: int,
        out: Plugins = None,
        obs: Mapping[str, object] | None = None,
        step_size: int = 1,
        show_progress: bool | None = True,
        save_params_every: int = 50,
        write_every: int = 50,
        callback: Plugins = None,
        timeit: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
        max_block: int | None = None,
        speculate: bool = True,
        resume: bool | str | Path = False,
        on_divergence: str | None = None,
    ) -> tuple[AbstractCallback, ...]:
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
            speculate: Whether a block may take steps that a stop or a rejection later undoes. If
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
            CheckpointError: If a demanded checkpoint cannot be read, or does not fit this
                driver and these callbacks; no hook has run then.
            KeyboardInterrupt: After Ctrl-C, SIGTERM or SIGUSR1, when the step was finished and
                `on_run_end` called, unless Python runs interactively. Where nobody catches it,
                the process ends with the status of the signal, such as 143.
        """
        options = RunOptions(max_attempts, max_block, speculate, resume, on_divergence, each=False)
        steps = start_run(
            self,
            n_iter,
            options,
            out=out,
            obs=obs,
            step_size=step_size,
            show_progress=show_progress,
            save_params_every=save_params_every,
            write_every=write_every,
            callback=(self._registered, callback),
            timeit=timeit,
        )
        # Closes the loop properly also if it is interrupted in between.
        with contextlib.closing(steps):
            for _ in steps:
                pass
        return self.run_state.loggers

    @suggests_names
    def steps(
        self,
        n_iter: int,
        out: Plugins = None,
        obs: Mapping[str, object] | None = None,
        step_size: int = 1,
        show_progress: bool | None = False,
        save_params_every: int = 50,
        write_every: int = 50,
        callback: Plugins = None,
        timeit: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
        max_block: int | None = 1,
        speculate: bool = True,
        resume: bool | str | Path = False,
        on_divergence: str | None = None,
    ) -> Steps:
        """The run loop as a generator; takes the arguments of `run` and checks them at once.

        Leaving the loop early (`break`) ends the run well: callbacks get `on_run_end`. Blocks have
        one step unless `max_block` says otherwise, so that the driver's state is there after each;
        in longer ones it can be read after the last step only.

        Yields:
            One `StepInfo` after each step.
        """
        options = RunOptions(max_attempts, max_block, speculate, resume, on_divergence, each=True)
        return start_run(
            self,
            n_iter,
            options,
            out=out,
            obs=obs,
            step_size=step_size,
            show_progress=show_progress,
            save_params_every=save_params_every,
            write_every=write_every,
            callback=(self._registered, callback),
            timeit=timeit,
        )

    def resume_at(self, step: int, elapsed: float) -> None:
        """Count steps from `step` on, and `wallclock` from `elapsed` seconds on."""
        self.run_state.resume_at(step, elapsed)
