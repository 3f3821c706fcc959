"""Reads a monitored quantity, such as "Energy.mean" or "acceptance", from a step's row."""

import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ritz.checks import check_choice
from ritz.driver import AbstractDriver
from ritz.driver.divergence import DivergedError
from ritz.driver.rows import children, error_of, mean_of
from ritz.types import Value

_NUMBERS = (int, float, complex, np.generic, jax.Array)


def _part(value: object, name: str) -> Value:
    """The part `name` of `value`; raises LookupError if there is none."""
    found = getattr(value, name, None)
    if found is not None and not callable(found):
        return found
    try:
        parts = children(value)
    except jax.errors.JAXTypeError:  # `to_dict` of statistics, in a function that is compiled
        parts = None
    if parts is None or name not in parts:
        raise LookupError(name)
    return parts[name]


def find(monitor: str, log_data: Mapping[str, object], loss_name: str) -> tuple[Value, Value]:
    """The monitored value, and the statistics that it belongs to (or the value again).

    Raises:
        LookupError: If nothing of that name is logged.
    """
    if monitor in log_data:
        return log_data[monitor], log_data[monitor]
    first, *rest = re.split(r"[./]", monitor)
    if first in log_data:
        owner = value = log_data[first]
    else:
        value, rest = log_data[loss_name], [first, *rest]
        is_number = isinstance(value, _NUMBERS) and np.ndim(value) == 0
        if rest == ["mean"] and is_number:
            return value, value
        owner = value
    for name in rest:
        owner, value = value, _part(value, name)
    return value, owner


def _number(value: object, monitor: str) -> float:
    array = np.asarray(mean_of(value))
    if array.size != 1 or array.dtype.kind not in "biufc":
        raise ValueError(
            f"monitor {monitor!r} is not a single number but {value!r}; name one of its parts, for "
            f"example {monitor + '.0'!r}, or log a number of your own in before_parameter_update."
        )
    return float(np.real(array.reshape(())))


def mean_and_error(value: Value, owner: object) -> tuple[jax.Array, jax.Array]:
    """Like `read_monitor` in compiled functions, from what `find` gave; an error of 0 if none."""
    value, error = mean_of(value), error_of(owner)
    if np.ndim(value):
        raise LookupError("the monitored quantity is no single number")
    return jnp.real(value), jnp.real(0.0 if error is None else error)


def _names(log_data: Mapping[str, object]) -> list[str]:
    return [
        f"{key} ({', '.join(f'{key}.{part}' for part in parts)})"
        if (parts := children(value))
        else key
        for key, value in log_data.items()
    ]


def is_expected(monitor: str, driver: AbstractDriver) -> bool:
    """Whether the driver or a callback says that it logs `monitor` at some steps."""
    first = re.split(r"[./]", monitor)[0]
    sources = [driver, *getattr(driver, "callbacks", ())]
    return any(first in getattr(source, "logs", ()) for source in sources)


def check_expected(monitor: str, log_data: Mapping[str, object], driver: AbstractDriver) -> None:
    """Accept that `monitor` is missing if the driver or a callback logs it at other steps.

    Raises:
        ValueError: Otherwise, with what is logged.
    """
    if not is_expected(monitor, driver):
        raise ValueError(
            f"monitor {monitor!r} is not logged; this run logs: {'; '.join(_names(log_data))}."
        )


def period(monitor: str, driver: AbstractDriver) -> tuple[str, int]:
    """Interval between two values of a monitored quantity: its name, and its length in steps.

    A step, unless it is one of `driver.logs`.
    """
    at_times = re.split(r"[./]", monitor)[0] in getattr(driver, "logs", ())
    return driver.period if at_times else ("step", 1)


def read_monitor(
    monitor: str, log_data: Mapping[str, object], driver: AbstractDriver
) -> tuple[float, float] | None:
    """The monitored number and its error bar, real parts taken.

    Args:
        monitor: A key of `log_data`; a key and a part, as in "Energy.mean"; or a part of the
            driver's loss, as in "mean".
        log_data: The step's row.
        driver: The driver, for the name of its loss.

    Returns:
        The number and its error bar (NaN if it has none), or None if a callback of the run logs
        the quantity but not at this step.

    Raises:
        ValueError: If nothing of that name is logged, or it is no single number.
    """
    name = driver._loss_name
    if monitor == "mean" and "mean" not in log_data:  # the usual one, found quickly
        loss = log_data.get(name)
        mean = loss if type(loss) is float else getattr(loss, "mean", None)
        if type(mean) is float:
            error = getattr(loss, "error_of_mean", None)
            return mean, error if type(error) is float else math.nan
    try:
        value, owner = find(monitor, log_data, name)
    except LookupError:
        check_expected(monitor, log_data, driver)
        return None
    error = error_of(owner)
    return _number(value, monitor), math.nan if error is None else float(np.real(error))


def read_finite(
    monitor: str, log_data: Mapping[str, object], driver: AbstractDriver
) -> tuple[float, float] | None:
    """Like `read_monitor`, for conditions: they cannot judge what is not finite.

    Returns:
        The number and its error bar; None also where the number is not finite and the run was told
        to ignore that.

    Raises:
        DivergedError: Where it was not.
    """
    found = read_monitor(monitor, log_data, driver)
    if found is None or math.isfinite(found[0]):
        return found
    if getattr(driver, "on_divergence", "stop") == "ignore":
        return None
    raise DivergedError(f"{monitor} is {found[0]}")


def improves(
    value: float, target: float, min_delta: float, min_reldelta: float, mode: str = "min"
) -> bool:
    """Whether `value` is better than `target` by more than both margins.

    The relative margin is a fraction of |target|, so that it also works below zero.
    """
    if mode == "max":
        value, target = -value, -target
    if math.isinf(target):
        return value < target
    return value < target - max(min_delta, min_reldelta * abs(target))


def check_monitor(monitor: str, name: str = "monitor") -> str:
    """`monitor`, if it is a text; `name` is that of the argument, for messages.

    Raises:
        TypeError: Otherwise.
    """
    if not isinstance(monitor, str):
        raise TypeError(
            f'{name} must be the name of a quantity, such as "mean" or "Energy.variance", but '
            f"{monitor!r} was given."
        )
    return monitor


def check_mode(mode: str, name: str = "mode") -> str:
    """`mode`, if it is "min" or "max"; `name` is that of the argument, for messages."""
    return check_choice(name, mode, ("min", "max"))
