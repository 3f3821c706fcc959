"""Parameters as one vector of independent numbers, and back."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact, PyTree


class Realified(NamedTuple):
    """Conversion of trees like the parameters to vectors and back."""

    flatten: Callable[[PyTree], Array]
    """tree -> vector of shape (n_parameters,)."""
    restore: Callable[[Array], PyTree]
    """vector of shape (n_parameters,) -> tree."""


def realify(params: PyTree, mode: str) -> Realified:
    """The vector form of `params`.

    In the mode "holomorphic" the vector is complex, one entry a parameter. In the others it is
    real: first the real parts of all parameters, then the imaginary parts of complex ones.
    """
    leaves, structure = jax.tree.flatten(params)
    complex_at = [jnp.iscomplexobj(leaf) for leaf in leaves]
    if mode == "holomorphic":
        if not all(complex_at):
            raise ValueError(
                "mode='holomorphic' needs complex parameters only; use mode='complex' instead."
            )
        return Realified(lambda tree: ravel_pytree(tree)[0], ravel_pytree(params)[1])

    def split(tree: PyTree) -> tuple[list[Array], list[Array]]:
        parts = jax.tree.leaves(tree)
        return (
            [jnp.real(part) for part in parts],
            [jnp.imag(part) for part, c in zip(parts, complex_at, strict=True) if c],
        )

    _, unravel = ravel_pytree(split(params))

    def restore(vector: Inexact[Array, " n"]) -> PyTree:
        real, imaginary = unravel(vector)
        remaining = iter(imaginary)
        joined = [
            jax.lax.complex(re, next(remaining)) if c else re
            for re, c in zip(real, complex_at, strict=True)
        ]
        return jax.tree.unflatten(structure, joined)

    return Realified(lambda tree: ravel_pytree(split(tree))[0], restore)


def single(tree: PyTree) -> PyTree:
    """All numbers of a tree in single precision."""

    def cast(leaf: ArrayLike) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf.astype(jnp.complex64 if jnp.iscomplexobj(leaf) else jnp.float32)

    return jax.tree.map(cast, tree)


def double(tree: PyTree) -> PyTree:
    """All numbers of a tree in double precision, where JAX is set to allow it."""
    number = jnp.result_type(float)
    return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, number)), tree)
