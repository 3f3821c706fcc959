"""Sets the classes behind the short arguments of `run`, which are imported when first used."""

from ritz.driver.arguments import RunDefaults, set_run_defaults


def _log(prefix, save_params_every, write_every):
    from ritz.loggers import JsonLog

    # "append" drops rows from the run's first step on, so a run from step 0 starts empty.
    return JsonLog(prefix, "append", save_params_every, write_every)


def _observe(observables, step_size):
    from ritz.callbacks import Observables

    return Observables(observables, interval=step_size)


def _progress():
    from ritz.callbacks import ProgressBar

    return ProgressBar()


def _timing():
    from ritz.callbacks import HookTiming

    return HookTiming()


def _resume(driver, hooks, source, n_iter):
    from ritz.checkpoint.resume import resume_run

    return resume_run(driver, hooks, source, n_iter)


set_run_defaults(RunDefaults(_log, _observe, _progress, _timing, _resume))
