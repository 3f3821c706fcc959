"""Conformance check of callbacks."""

import json
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.checkpoint.plain import Arrays, Decoder, Encoder
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.testing.quadratic import QuadraticDriver
from ritz.types import Row, Settings, State


def check_callback(
    make: Callable[[], AbstractCallback],
    make_driver: Callable[[], AbstractDriver] = lambda: QuadraticDriver(noise=0.1),
    steps: int = 6,
) -> None:
    """Check a callback: run twice, ended by an error, saved and restored.

    Args:
        make: Function that makes a new callback.
        make_driver: Function that makes a new driver; all must give the same numbers.
        steps: Number of steps of each run.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    callback = make()
    assert isinstance(callback, AbstractCallback), f"{callback!r} is no AbstractCallback"
    assert isinstance(callback.callback_order, int), "callback_order must be an int"
    assert isinstance(callback.is_live(0), bool), "is_live must return a bool"
    assert isinstance(callback.state_key, str), "state_key must be a string"
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
    assert same, f"{message}:\n{first}\n{second}"


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
