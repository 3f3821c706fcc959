"""The phases of a live step, each a compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ritz.driver.blocks import barrier
from ritz.driver.finite import all_finite
from ritz.driver.kernel import Kernel
from ritz.driver.traced import Observers


@jax.jit
def sample_and_propose(kernel: Kernel, carry: Any) -> Any:
    """Fresh samples, and what they propose: `carry -> (carry, proposal, batch)`."""
    carry, batch = barrier(kernel.sample(carry))
    return *kernel.propose(carry, batch), batch


@jax.jit
def propose(kernel: Kernel, carry: Any, batch: Any) -> Any:
    """What given samples propose: `(carry, batch) -> (carry, proposal)`."""
    return kernel.propose(carry, batch)


@jax.jit
def apply(kernel: Kernel, carry: Any, update: Any) -> Any:
    """The carry after the update, and whether its parameters are finite."""
    carry = barrier(kernel.apply(carry, update))
    return carry, all_finite(carry.params)


@jax.jit
def trial(kernel: Kernel, carry: Any, batch: Any, update: Any) -> Any:
    """The loss after the update, which is not made."""
    return kernel.trial(carry, batch, update)


metrics = jax.jit(Observers.metrics, static_argnums=0)
"""The kernel's metrics and those of callbacks."""

observe = jax.jit(Observers.observe, static_argnums=(0, 1))
"""What the traced parts of callbacks carry after a hook."""


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a carry is a random key."""
    return jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key)
