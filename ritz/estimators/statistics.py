"""Statistics of the values of one step."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact

from ritz.types import Row

_SMALLEST, _LARGEST = 1e-9, 1e9
"""Numbers with errors outside are written with exponents."""


class Stats(NamedTuple):
    """Mean of a quantity over the samples of a step, with its error; numbers or arrays."""

    mean: Inexact[Array, "..."]
    error_of_mean: Float[Array, "..."]
    """One standard error of the mean, as if samples were independent."""
    variance: Float[Array, "..."]
    """Variance of the values of single samples."""

    def to_dict(self) -> Row:
        """The fields by the names of NetKet's logs."""
        return {"Mean": self.mean, "Sigma": self.error_of_mean, "Variance": self.variance}

    def __str__(self) -> str:
        """A number with its error to two digits, in NetKet's form; arrays as they are."""
        if any(np.size(part) != 1 or isinstance(part, Tracer) for part in self):
            return repr(self)
        mean, error, variance = (np.asarray(part).item() for part in self)
        texts = f"{mean:.6g}", f"{error:.2g}"
        if _SMALLEST < error < _LARGEST and abs(mean) < _LARGEST:
            digits = max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))
            texts = f"{mean:.{digits}f}", f"{error:.{digits}f}"
        return f"{texts[0]} ± {texts[1]} [σ²={variance:.2g}]"


def statistics(
    values: Inexact[Array, "n_samples ..."], weights: Float[Array, " n_samples"] | None = None
) -> Stats:
    """Mean, error and variance of independent values.

    Args:
        values: One value for each sample, in double precision if JAX is set to allow it.
        weights: Probabilities of the samples, which sum to one; None for equal ones.
    """
    values = jnp.asarray(values)
    n_samples = values.shape[0]
    wide = jnp.promote_types(values.dtype, jnp.result_type(float))
    values = values.astype(wide)
    if weights is None:
        mean = jnp.mean(values, axis=0)
        variance = jnp.mean(jnp.abs(values - mean) ** 2, axis=0)
        return Stats(mean, jnp.sqrt(variance / n_samples), variance)
    share = weights.reshape(-1, *(1,) * (values.ndim - 1)).astype(jnp.real(values).dtype)
    mean = jnp.sum(share * values, axis=0)
    squares = jnp.abs(values - mean) ** 2
    return Stats(
        mean, jnp.sqrt(jnp.sum(share**2 * squares, axis=0)), jnp.sum(share * squares, axis=0)
    )
