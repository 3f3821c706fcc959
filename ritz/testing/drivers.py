"""Conformance check of drivers."""

from collections.abc import Callable

import jax
import numpy as np

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, StopRun
from ritz.testing.requirement import require
from ritz.types import Row


class _RejectOnce(AbstractCallback):
    """Rejects the first attempt at each step."""

    def on_compute_update_end(self, step: int, log_data: Row, driver: AbstractDriver) -> bool:
        return driver.step_attempt == 0


class _StopAt(AbstractCallback):
    def __init__(self, step: int):
        self.step = step

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if step == self.step:
            raise StopRun("here")


def _parameters(driver: AbstractDriver) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(driver.parameters)]


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def check_driver(make: Callable[[], AbstractDriver], steps: int = 3) -> None:
    """Check a driver: counting, stopping, rejecting, restoring, and splitting runs bit for bit.

    Args:
        make: Function that makes a new driver; all must give the same numbers.
        steps: Number of steps of each run.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    driver = make()
    require(driver.step_count == 0, "a new driver has taken steps")
    start = _parameters(driver)
    driver.run(0, show_progress=False)
    require(_same(start, _parameters(driver)), "a run of no steps moved the parameters")

    driver.run(2 * steps, show_progress=False)
    require(
        driver.step_count == 2 * steps, f"{2 * steps} steps were counted as {driver.step_count}"
    )
    require(not _same(start, _parameters(driver)), "the parameters did not move")
    halves = make()
    halves.run(steps, show_progress=False)
    halves.run(steps, show_progress=False)
    require(_same(_parameters(driver), _parameters(halves)), "two runs of n differ from one of 2 n")

    for max_block in (1, 2):
        other = make()
        other.run(2 * steps, show_progress=False, max_block=max_block)
        require(
            _same(_parameters(driver), _parameters(other)),
            f"blocks of at most {max_block} steps give other parameters than longer ones",
        )

    stopped = make()
    stopped.run(2 * steps, callback=_StopAt(steps), show_progress=False)
    require(stopped.step_count == steps, "a stop before the update was counted as a step")
    reference = make()
    reference.run(steps, show_progress=False)
    require(_same(_parameters(stopped), _parameters(reference)), "a stop left other parameters")

    rejecting = make()
    rejecting.run(1, callback=_RejectOnce(), show_progress=False)
    require(rejecting.step_count == 1, "a rejected attempt was counted")

    snapshot, before = driver.snapshot(), _parameters(driver)
    driver.run(1, show_progress=False)
    once = _parameters(driver)
    driver.restore(snapshot)
    require(_same(before, _parameters(driver)), "restore did not bring the parameters back")
    driver.run(1, show_progress=False)
    require(_same(once, _parameters(driver)), "a step repeated after restore differs")
