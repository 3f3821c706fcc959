"""Start and end of a run, around the loop."""

import contextlib
import logging
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.checks import check_count
from ritz.driver.arguments import Plugins, assemble, listed, resume_run
from ritz.driver.callback import AbstractCallback
from ritz.driver.description import describe
from ritz.driver.hooks import HookList
from ritz.driver.loop import run_loop
from ritz.driver.processes import watchdog
from ritz.driver.processes.consensus import (
    OtherProcessFailed,
    is_single_process,
    together,
)
from ritz.driver.run_state import RunOptions, Steps
from ritz.driver.stop import StopReason

if TYPE_CHECKING:
    from ritz.driver.abstract import AbstractDriver

_logger = logging.getLogger("ritz")
_EARLY = (StopReason.STOPPED, StopReason.TIMED_OUT, StopReason.INTERRUPTED, StopReason.DIVERGED)


def start_run(
    driver: "AbstractDriver",
    n_iter: int,
    options: RunOptions,
    *,
    callback: tuple[Sequence[AbstractCallback], Plugins],
    **plugins: Any,
) -> Steps:
    """Check all arguments at once, and return the generator that takes the steps.

    Args:
        driver: The driver.
        n_iter: The number of steps.
        options: How to take them.
        callback: The registered callbacks, and what was given to `run`.
        **plugins: The other arguments of `run` that stand for callbacks.
    """
    check_count("n_iter", n_iter, 0)
    options.check()
    registered, given = callback
    callbacks, loggers = assemble(driver.adapt, callback=[*registered, *listed(given)], **plugins)
    hooks = HookList(callbacks)
    policy = _policy(driver, options.on_divergence, hooks)
    driver.run_state.loggers = loggers
    steps = driver.around(_run(driver, n_iter, hooks, options, policy=policy))
    return _with_resources(driver, steps)


def _policy(driver: "AbstractDriver", asked: str | None, hooks: HookList) -> str:
    if asked == "retry" and not (driver.can_go_back and driver.keeps_parameters):
        raise ValueError(
            f'on_divergence="retry" needs a driver that can go back, and {type(driver).__name__} '
            'cannot; use "stop".'
        )
    tolerated = any(callback.tolerates_divergence for callback in hooks.callbacks)
    return asked or ("ignore" if tolerated else "stop")


def _with_resources(driver: "AbstractDriver", steps: Steps) -> Steps:
    with contextlib.ExitStack() as driver.run_state.resources:
        yield from steps


def _run(
    driver: "AbstractDriver", n_iter: int, hooks: HookList, options: RunOptions, *, policy: str
) -> Steps:
    if driver.run_state.is_running:
        raise RuntimeError(
            "this driver is running already; finish or close its loop before a second run."
        )
    driver.guard_run(policy)
    with watchdog.guard(lambda failed: _leave(driver, failed)):
        yield from _watched(driver, n_iter, hooks, options)


def _watched(driver: "AbstractDriver", n_iter: int, hooks: HookList, options: RunOptions) -> Steps:
    state = driver.run_state
    state.hooks = hooks
    first = state.step_count
    with together("before the run") as alike:
        for callback in hooks.callbacks:
            callback.check_run(driver, bool(options.resume))
        if options.resume:
            first = resume_run(driver, hooks, options.resume, n_iter)
        alike["numbers of steps before the run"] = state.step_count
        alike["numbers of steps at its end"] = first + n_iter
        if not is_single_process():
            alike["settings"] = describe(driver.settings)
            alike["parameters"] = _checksums(driver.parameters)
    state.begin(options, max(first + n_iter, state.step_count))
    driver.begin_run()
    try:
        with driver.environment():
            yield from run_loop(driver, state.target_step - state.step_count, hooks)
    finally:
        state.is_running = False
        driver.end_run()
        _log_end(driver)


def _checksums(tree: PyTree) -> dict[str, str]:
    """Checksums of the arrays that this process has whole, by their names."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_replicated:
            content = np.asarray(leaf).tobytes()
            found[jax.tree_util.keystr(path, simple=True, separator=".")] = str(zlib.crc32(content))
    return found


def _leave(driver: "AbstractDriver", failed: str) -> None:
    """End the run from another thread, while its own waits for a process that has failed."""
    error = OtherProcessFailed(failed)
    driver.run_state.fail(error)
    driver.hooks.leave(driver.step_count, error, driver)


def _log_end(driver: "AbstractDriver") -> None:
    early = driver.stop_reason in _EARLY
    doubts = ", ".join(sorted(driver.doubts))
    _logger.log(
        logging.WARNING if early or doubts else logging.INFO,
        "Run ended at step %d: %s.%s",
        driver.step_count,
        driver.stop_message,
        f" Its last row is suspect: {doubts}." * bool(doubts),
    )
