"""Functions that go to zero smoothly at a cutoff."""

import math
from typing import Any

import jax.numpy as jnp


def cosine_cutoff(distances: Any, cutoff: Any) -> Any:
    """(cos(pi d / Rc) + 1) / 2 below the cutoff, 0 beyond."""
    inside = jnp.minimum(distances / cutoff, 1)
    return jnp.where(distances < cutoff, (jnp.cos(math.pi * inside) + 1) / 2, 0)


def tanh3_cutoff(distances: Any, cutoff: Any) -> Any:
    """tanh(1 - d / Rc)^3 below the cutoff, 0 beyond."""
    return jnp.tanh(jnp.maximum(1 - distances / cutoff, 0)) ** 3
