"""Conformance check of callbacks."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.checkpoint.plain import Arrays, Decoder, Encoder
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.testing.quadratic import QuadraticDriver, nested_parameters
from ritz.testing.requirement import require
from ritz.types import Row, Settings, State


def check_callback(
    make: Callable[[], AbstractCallback],
    make_driver: Callable[[], AbstractDriver] | None = None,
    steps: int = 6,
) -> None:
    """Check a callback: run twice, ended by an error, saved and restored.

    Args:
        make: Function that makes a new callback.
        make_driver: Function that makes a new driver; all must give the same numbers. Needed for
            a callback that reads what only some drivers have. By default three kinds of
            `QuadraticDriver`: with one array of parameters, with a nested dict of them as networks
            have, and with a loss that is a number without statistics, which a callback may refuse
            by a ValueError.
        steps: Number of steps of each run.

    Raises:
        AssertionError: If a check fails, with the reason.
        TypeError: If a callback was given in place of a function that makes one.
    """
    if isinstance(make, AbstractCallback):
        name = type(make).__name__
        raise TypeError(
            f"check_callback needs a function that makes a new {name} each time, not one {name}: "
            f"check_callback(lambda: {name}(...))."
        )
    if make_driver is not None:
        _check(make, make_driver, steps)
        return
    try:
        _check(make, lambda: QuadraticDriver(noise=0.1), steps)
    except KeyError as error:
        raise AssertionError(
            f"the callback reads {error} of a row, which the drivers of this check do not log; "
            "give make_driver, a function that makes a small driver that does."
        ) from error
    with _where(_IN_A_DICT):
        _check(make, lambda: QuadraticDriver(noise=0.1, parameters=nested_parameters()), steps)
    with contextlib.suppress(ValueError), _where(_WITHOUT_STATISTICS, refusal=ValueError):
        _check(make, lambda: QuadraticDriver(noise=0.1, statistics=False), steps)


_IN_A_DICT = (
    "the callback assumes that the parameters are one array, and fails where they are a nested "
    "dict of arrays, as those of networks are (use jax.tree.map or jax.tree.leaves)"
)
_WITHOUT_STATISTICS = (
    "the callback assumes statistics of the loss, and fails where it is a number (use "
    "ritz.callbacks.read_monitor, or refuse it by a ValueError)"
)


@contextlib.contextmanager
def _where(what: str, refusal: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Errors become those of the check, which begin with `what`; those of `refusal` pass."""
    try:
        yield
    except refusal:
        raise
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def _check(
    make: Callable[[], AbstractCallback], make_driver: Callable[[], AbstractDriver], steps: int
) -> None:
    callback = make()
    require(isinstance(callback, AbstractCallback), f"{callback!r} is no AbstractCallback")
    require(isinstance(callback.callback_order, int), "callback_order must be an int")
    require(isinstance(callback.is_live(0), bool), "is_live must return a bool")
    require(isinstance(callback.state_key, str), "state_key must be a string")
    _stored(callback, make_driver())

    whole = _rows(make, make_driver, [2 * steps])
    halves = _rows(make, make_driver, [steps, steps])
    _assert_same(whole, halves, "two runs of n do not equal one of 2 n")
    resumed = _rows(make, make_driver, [steps, steps], resume=True)
    _assert_same(whole, resumed, "a callback restored from its state_dict goes on differently")
    _check_error_ends_well(make, make_driver)


def _arguments(callback: AbstractCallback) -> Settings:
    return {callback.run_argument: callback, "show_progress": False}


def _rows(
    make: Callable[[], AbstractCallback],
    make_driver: Callable[[], AbstractDriver],
    runs: list[int],
    resume: bool = False,
) -> list[Row]:
    """The rows of consecutive runs, up to the step at which one was stopped."""
    driver, callback, rows = make_driver(), make(), []
    for n_iter in runs:
        if resume and rows:
            fresh = make()
            fresh.load_state_dict(_stored(callback, driver))
            callback = fresh
        for info in driver.steps(n_iter, **_arguments(callback)):
            row = {k: v for k, v in info.log_data.items() if k != "wallclock"}
            rows.append({"step": info.step, **row})
        if driver.step_count < sum(runs[: runs.index(n_iter) + 1]):
            break
    rows.append({"end": driver.step_count, "parameters": driver.parameters})
    return rows


def _assert_same(first: Sequence[PyTree], second: Sequence[PyTree], message: str) -> None:
    a, b = jax.tree.flatten(first), jax.tree.flatten(second)
    same = a[1] == b[1] and all(
        np.array_equal(np.asarray(x), np.asarray(y), equal_nan=np.asarray(x).dtype.kind in "fc")
        for x, y in zip(a[0], b[0], strict=True)
    )
    if not same:
        raise AssertionError(f"{message}:\n{first}\n{second}")


def _stored(callback: AbstractCallback, driver: AbstractDriver) -> State:
    """The state of `callback` as it comes back from a checkpoint."""
    arrays: Arrays = {}
    try:
        form = Encoder(arrays, driver.parameters).encode(callback.state_dict(), callback.state_key)
    except TypeError as error:
        raise AssertionError(str(error)) from error
    return Decoder(arrays, driver.parameters).decode(json.loads(json.dumps(form)))


def _check_error_ends_well(
    make: Callable[[], AbstractCallback], make_driver: Callable[[], AbstractDriver]
) -> None:
    class Fault(AbstractCallback):
        def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
            raise ArithmeticError("fault")

    driver, callback = make_driver(), make()
    arguments = {"callback": [Fault()], "show_progress": False}
    if callback.run_argument == "callback":
        arguments["callback"].append(callback)
    else:
        arguments["out"] = callback
    try:
        driver.run(2, **arguments)
    except ArithmeticError:
        pass
    else:
        raise AssertionError("the callback swallowed an error of another one")
    driver.run(1, **_arguments(callback))  # and the callback can be used again
