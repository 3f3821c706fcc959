"""Checks of numbers and schedules when they are given."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

ScalarOrSchedule = float | Callable[[Array], ArrayLike]
"""A number, or an optax schedule: step -> number."""

_LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (jax, optax, np))
_ADVICE = (
    "it is compiled, with a step that is not yet known: write it with jax.numpy, such as "
    "jnp.where(step < 10, 0.1, 0.01) in the place of `if`, and jnp.exp, jnp.minimum in the place "
    "of functions of math and NumPy"
)


def at_step(value: ScalarOrSchedule, step: Array) -> ArrayLike:
    """The value of a number or schedule at `step`."""
    return value(step) if callable(value) else value


def check_schedule(
    name: str, value: object, is_allowed: Callable[[float], bool], allowed: str
) -> None:
    """Refuse anything but an allowed number or a schedule that can be compiled.

    Args:
        name: The argument's name.
        value: A number, or a function of the step.
        is_allowed: Whether a number is allowed; also applied to the schedule's first value.
        allowed: Description of allowed numbers, for the message.

    Raises:
        TypeError: If it is a schedule that cannot be compiled, or does not return one number; or
            neither a number nor a function.
        ValueError: If the number, or the schedule's first value, is not allowed.
    """
    if not callable(value):
        _check_number(name, value, value, is_allowed, allowed)
        return
    where = _describe(value)
    returned: list[object] = []

    def traced(step: Array) -> PyTree:
        returned.append(value(step))
        return jnp.asarray(returned[0])

    try:
        shape = jax.eval_shape(traced, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        if returned:
            raise TypeError(_not_one(name, where, returned[0])) from error
        if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
            raise TypeError(
                f"{name}: the schedule {where} cannot be compiled; {_ADVICE}."
            ) from error
        raise TypeError(
            f"{name}: the schedule {where} takes the step, a whole number within jax.jit, and "
            f"returns a number, but it failed with {error!r}; {_ADVICE}."
        ) from error
    if shape.shape != () or jnp.issubdtype(shape.dtype, jnp.complexfloating):
        raise TypeError(_not_one(name, where, returned[0]))
    _check_number(name, value(jnp.zeros((), jnp.int32)), f"{where}, at step 0", is_allowed, allowed)


def _not_one(name: str, where: str, returned: object) -> str:
    return (
        f"{name} takes a number or a function of the step that returns one, but {where} returned "
        f"{returned!r}."
    )


def _check_number(
    name: str, number: Any, given: object, is_allowed: Callable[[float], bool], allowed: str
) -> None:
    is_text = isinstance(number, str | bytes)
    try:
        if is_text or np.ndim(number) or np.iscomplexobj(number):
            raise TypeError
        good = bool(is_allowed(float(number)))
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} takes a number or a schedule (step -> number), but {given!r} was given."
        ) from None
    if not good:
        shown = given if isinstance(given, str) else repr(given)
        value = f" ({float(number)!r})" if isinstance(given, str) else ""
        raise ValueError(f"{name} must be {allowed}, but {shown}{value} was given.")


def check_rate(name: str, value: object) -> None:
    """Refuse a learning rate that is not finite and at least 0, see `check_schedule`."""
    check_schedule(name, value, lambda x: 0 <= x < np.inf, "a finite number of at least 0")


def check_transformation(
    name: str, optimizer: optax.GradientTransformation, params: PyTree
) -> PyTree:
    """The state of an optimiser for `params`, if a step of it can be compiled.

    Raises:
        TypeError: If it cannot, for example because of `if` in a schedule: with the function.
    """
    state = optimizer.init(params)
    try:
        jax.eval_shape(optimizer.update, params, state, params)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        culprit = _deepest(error)
        raise TypeError(f"{name}: {culprit} cannot be compiled; {_ADVICE}.") from error
    return state


def _describe(function: object) -> str:
    label = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    return f"{label} ({code.co_filename}:{code.co_firstlineno})" if code else label


def _deepest(error: BaseException) -> str:
    """The last function on the way to `error` that is not of a library."""
    here = __file__
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != here and not frame.filename.startswith(_LIBRARIES)
    ]
    if not frames:
        return "a function of it"
    return f"the function {frames[-1].name} ({frames[-1].filename}:{frames[-1].lineno})"
