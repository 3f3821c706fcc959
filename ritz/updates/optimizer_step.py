"""The step of an optimiser of optax, with the scale that drivers put on it."""

import jax
import optax
from jaxtyping import Array, Float, PyTree


def optimizer_step(
    optimizer: optax.GradientTransformation,
    params: PyTree,
    optimizer_state: PyTree,
    update: PyTree,
    rate_scale: Float[Array, ""],
) -> tuple[PyTree, PyTree]:
    """Parameters and state of the optimiser after its step.

    Args:
        optimizer: The optimiser.
        params: The parameters.
        optimizer_state: Its state.
        update: The gradient, or what an update rule puts in its place; as `params`.
        rate_scale: Multiplies the step, see `AbstractDriver.rate_scale`.

    Returns:
        The new parameters, with the types that they had, and the new state.
    """
    steps, optimizer_state = optimizer.update(update, optimizer_state, params)
    params = jax.tree.map(lambda p, s: (p + rate_scale * s).astype(p.dtype), params, steps)
    return params, optimizer_state
