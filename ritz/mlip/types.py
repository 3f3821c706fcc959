"""Types that several parts of the domain share."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
"""An array of JAX, or one of NumPy where one of JAX will be."""
