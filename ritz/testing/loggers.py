"""Conformance check of loggers."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.loggers import AbstractLogger
from ritz.testing.quadratic import QuadraticDriver, QuadraticStats, nested_parameters
from ritz.testing.requirement import require
from ritz.types import Row


def check_logger(
    make: Callable[[], AbstractLogger],
    folder: Path,
    read_steps: Callable[[AbstractLogger], Iterable[int]] | None = None,
) -> None:
    """Check a logger: nothing on disk before `open`, run twice, closed twice, rows dropped.

    The parameters of one of its drivers are a nested dict, as those of networks are, and those of
    another one array.

    Args:
        make: Function that makes a new logger, which writes below `folder`.
        folder: An empty folder.
        read_steps: Function that reads the steps of the rows from a closed logger; leave it out if
            rows cannot be read back or dropped.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    logger = make()
    require(isinstance(logger, AbstractLogger), f"{logger!r} is no AbstractLogger")
    require(not any(folder.iterdir()), "something was written before open")

    driver = QuadraticDriver(parameters=nested_parameters())
    driver.working_dir = folder
    for _ in range(2):
        try:
            returned = driver.run(3, out=logger, show_progress=False)
        except Exception as error:
            error.add_note("The parameters are a nested dict here, as those of networks are.")
            raise
        require(returned == (logger,), "run did not return the logger")
    logger.close()  # closed by the run already
    _expect(read_steps, logger, range(6), "two runs")

    # An interrupted run that begins again at step 4.
    with logger.open(folder, "run", initial_step=4):
        logger.write(4, {"loss": QuadraticStats(1.0, 0.0, 0.0), "wallclock": 0.0})
    _expect(read_steps, logger, range(5), "opening at step 4")
    _check_closed_after_error(logger, folder)


def _expect(
    read_steps: Callable[[AbstractLogger], Iterable[int]] | None,
    logger: AbstractLogger,
    steps: range,
    after: str,
) -> None:
    if read_steps is not None:
        found = [int(step) for step in read_steps(logger)]
        require(found == list(steps), f"after {after} the rows are {found}, not {list(steps)}")


def _check_closed_after_error(logger: AbstractLogger, folder: Path) -> None:
    class Fault(AbstractCallback):
        def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
            raise ArithmeticError("fault")

    driver = QuadraticDriver()
    driver.working_dir = folder
    with contextlib.suppress(ArithmeticError):
        driver.run(2, out=logger, callback=Fault(), show_progress=False)
    require(logger._opened is None, "an error left the logger open")
