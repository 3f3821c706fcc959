"""Inputs of networks: vectors and distances, smooth wherever particles meet."""

import jax.numpy as jnp
from jaxtyping import Array, Float

_SHORTEST = {4: 2.0**-23, 8: 2.0**-50}
"""By the bytes of a number: shorter lengths, in bohr, count as this much; their fifth powers, which
third derivatives have, must have finite inverses."""


def norm(vectors: Float[Array, "*shape 3"]) -> Float[Array, "*shape"]:
    """Lengths of vectors, whose derivatives are zero, not NaN, where vectors are."""
    # A maximum, not a choice, by which the forward Laplacian would lose the sparsity.
    squares = jnp.sum(vectors**2, axis=-1)
    return jnp.sqrt(jnp.maximum(squares, _SHORTEST[squares.dtype.itemsize] ** 2))


def flat_distance(
    distance: Float[Array, "*shape"], scale: Float[Array, "..."] | float = 1.0
) -> Float[Array, "*shape"]:
    """r^2 / (a + r): r - a far away, but without a slope at r = 0, where cusps belong to factors.

    Args:
        distance: r, in bohr.
        scale: a, in bohr.
    """
    return distance**2 / (scale + distance)


def nucleus_features(vectors: Float[Array, "*shape 3"]) -> Float[Array, "*shape 4"]:
    """Features of the vectors from nuclei, of the order of one.

    They are r / (1 + |r|), which lets p orbitals have a slope of their own at the nucleus, and
    log(1 + |r|^2 / (1 + |r|)), which grows slowly (von Glehn, Spencer and Pfau, arXiv 2211.13672,
    rescale alike).
    """
    distance = norm(vectors)
    return _joined(vectors / (1 + distance)[..., None], distance)


def pair_features(vectors: Float[Array, "*shape 3"]) -> Float[Array, "*shape 4"]:
    """Features of the vectors between electrons, of the order of one.

    Vectors are divided by 1 + |r|^2 / (1 + |r|): terms like r |r| would change the cusp between
    electrons of equal spin, where psi vanishes.
    """
    distance = norm(vectors)
    return _joined(vectors / (1 + flat_distance(distance))[..., None], distance)


def _joined(vectors: Float[Array, "*shape 3"], distance: Float[Array, "*shape"]) -> Array:
    return jnp.concatenate([vectors, jnp.log1p(flat_distance(distance))[..., None]], -1)
