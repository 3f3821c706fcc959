"""Arrays in the precision of a run."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def as_real(leaf: ArrayLike, real: np.dtype) -> jax.Array:
    """A leaf as an array, with floating-point numbers in the precision `real`."""
    array = jnp.asarray(leaf)
    return array.astype(real) if jnp.issubdtype(array.dtype, jnp.floating) else array
