"""Arrays in the precision of a run."""

from typing import Any

import jax.numpy as jnp


def as_real(leaf: Any, real: Any) -> Any:
    """A leaf as an array, with floating-point numbers in the precision `real`."""
    array = jnp.asarray(leaf)
    return array.astype(real) if jnp.issubdtype(array.dtype, jnp.floating) else array
