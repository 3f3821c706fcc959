"""Optimisers of optax: what users may give for one, and its step with the scale of drivers."""

import functools
import numbers
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from ritz.updates.schedules import check_rate


@functools.lru_cache(maxsize=64)
def _sgd(rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """`optax.sgd`, one object for equal rates, so that drivers share compiled programs."""
    return optax.sgd(rate)


_MISSING = re.compile(r"missing \d+ required keyword-only arguments?: (.*)")


def check_goes_by_gradients(
    name: str, optimizer: optax.GradientTransformation, advice: str
) -> optax.GradientTransformation:
    """Refuse an optimiser that needs more than gradients and parameters, as line searches do.

    Args:
        name: What the optimiser is called in the message.
        optimizer: The optimiser; it takes a step of one number.
        advice: What to use instead.

    Raises:
        ValueError: With the arguments that its `update` needs.
    """
    one = {"parameter": jnp.ones(1)}
    missing = None
    try:
        jax.eval_shape(lambda x: optimizer.update(x, optimizer.init(x), x), one)
    except TypeError as error:
        missing = _MISSING.search(str(error))
    except Exception:  # of one that is made for other parameters, which is checked with them
        return optimizer
    if missing is not None:
        needed = missing[1].replace("'", "")
        raise ValueError(
            f"{name}: this optimiser needs more than the gradient ({needed}), as line searches "
            "and step sizes from the loss do; they cannot be used with the noisy losses of batches "
            f"and samples. Use {advice}."
        )
    return optimizer


def as_transformation(
    optimizer: optax.GradientTransformation | optax.ScalarOrSchedule,
) -> optax.GradientTransformation:
    """`optimizer`, or `optax.sgd` with it as the learning rate or schedule.

    Raises:
        TypeError: If it is neither.
        ValueError: If the learning rate is not finite, or below 0; or if the transformation needs
            the loss, as line searches do.
    """
    if isinstance(optimizer, optax.GradientTransformation):
        return check_goes_by_gradients("optimizer", optimizer, "optax.sgd or optax.adam")
    is_scalar = isinstance(optimizer, np.ndarray | jax.Array) and optimizer.ndim == 0
    if callable(optimizer):
        check_rate("optimizer", optimizer)
        return _sgd(optimizer)
    if isinstance(optimizer, numbers.Real) or is_scalar:
        number = optimizer
        check_rate("optimizer", number)
        return _sgd(float(number))
    raise TypeError(
        "optimizer must be an optax transformation, or a learning rate or schedule for optax.sgd, "
        f"but {optimizer!r} was given."
    )


def optimizer_step(
    optimizer: optax.GradientTransformation,
    params: PyTree,
    optimizer_state: PyTree,
    update: PyTree,
    rate_scale: Float[Array, ""],
    **more: object,
) -> tuple[PyTree, PyTree]:
    """Parameters and state of the optimiser after its step.

    Args:
        optimizer: The optimiser.
        params: The parameters.
        optimizer_state: Its state.
        update: The gradient, or what an update rule puts in its place; as `params`.
        rate_scale: Multiplies the step, see `AbstractDriver.rate_scale`.
        **more: What the optimiser takes besides, as `optax.GradientTransformationExtraArgs` do.

    Returns:
        The new parameters, with the types that they had, and the new state.
    """
    steps, optimizer_state = optimizer.update(update, optimizer_state, params, **more)
    params = jax.tree.map(lambda p, s: (p + rate_scale * s).astype(p.dtype), params, steps)
    return params, optimizer_state
