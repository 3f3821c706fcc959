"""Variational optimisations in physics and chemistry through one run loop with callback hooks."""

from ritz.driver.arguments import RunDefaults, set_run_defaults

__version__ = "0.1.0"


def _install_run_defaults() -> None:
    """Say which classes serve the short arguments of `run`; they are imported when first used."""

    def log(prefix, save_params_every, write_every):
        from ritz.loggers import JsonLog

        # "append" drops rows from the run's first step on, so a run from step 0 starts empty.
        return JsonLog(prefix, "append", save_params_every, write_every)

    def observe(observables, step_size):
        from ritz.callbacks import Observables

        return Observables(observables, interval=step_size)

    def progress():
        from ritz.callbacks import ProgressBar

        return ProgressBar()

    def timing():
        from ritz.callbacks import HookTiming

        return HookTiming()

    def resume(driver, hooks, source):
        from ritz.checkpoint.resume import resume_run

        return resume_run(driver, hooks, source)

    set_run_defaults(RunDefaults(log, observe, progress, timing, resume))


_install_run_defaults()
