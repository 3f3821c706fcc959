"""Membership of configurations in a Hilbert space."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jaxtyping import Array, Bool, Shaped
from netket.errors import UnoptimisedCustomConstraintRandomStateMethodWarning
from netket.hilbert import AbstractHilbert
from netket.hilbert.constraint import SumConstraint, SumOnPartitionConstraint
from netket.hilbert.tensor_hilbert import TensorHilbert


def inside(
    hilbert: AbstractHilbert, x: Shaped[Any, "*batch n_sites"]
) -> Bool[np.ndarray, " *batch"]:
    """Whether configurations have allowed values on each site and satisfy the constraint.

    Values of spaces that are not discrete only have to be finite.

    Raises:
        ValueError: If they have another number of sites than the space.
    """
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] != hilbert.size:
        raise ValueError(
            f"configurations of {hilbert} have {hilbert.size} sites on the last axis, but the "
            f"shape {x.shape} was given."
        )
    allowed = np.all(np.isfinite(x), axis=-1)
    if isinstance(hilbert, TensorHilbert):
        ends = np.cumsum([part.size for part in hilbert.subspaces])
        parts = np.split(x, ends[:-1], axis=-1)
        for part, values in zip(hilbert.subspaces, parts, strict=True):
            allowed = allowed & inside(part, values)
    elif isinstance(hilbert, nk.hilbert.DoubledHilbert):
        doubled: Any = hilbert
        for values in np.split(x, 2, axis=-1):
            allowed = allowed & inside(doubled.physical, values)
    elif isinstance(hilbert, nk.hilbert.HomogeneousHilbert):
        states: Any = hilbert._local_states
        place = (np.where(allowed[..., None], x, states.start) - states.start) / states.step
        known = (place == np.round(place)) & (place >= 0) & (place < states.length)
        allowed = allowed & np.all(known, axis=-1)
        if hilbert.constrained and hilbert.constraint is not None:
            rows = x.reshape(-1, x.shape[-1])
            met = np.asarray(hilbert.constraint(jnp.asarray(rows))).reshape(x.shape[:-1])
            allowed = allowed & met
    return allowed


def is_constrained(hilbert: AbstractHilbert) -> bool:
    """Whether some combinations of allowed values on the sites do not belong to the space."""
    if isinstance(hilbert, TensorHilbert):
        return any(map(is_constrained, hilbert.subspaces))
    if isinstance(hilbert, nk.hilbert.DoubledHilbert):
        doubled: Any = hilbert
        return is_constrained(doubled.physical)
    return bool(getattr(hilbert, "constrained", False))


def fixed_sums(hilbert: AbstractHilbert) -> list[tuple[list[int], float]] | None:
    """Groups of sites whose values have a fixed sum, with that sum, if these are all constraints.

    Returns:
        An empty list for a space without a constraint; None if the constraint is of another kind.
    """
    if not is_constrained(hilbert):
        return []
    constraint = getattr(hilbert, "constraint", None)
    if isinstance(constraint, SumConstraint):
        return [(list(range(hilbert.size)), float(constraint.sum_value))]
    if isinstance(constraint, SumOnPartitionConstraint):
        ends = np.cumsum(constraint.sizes).tolist()
        starts = [0, *ends[:-1]]
        sums = map(float, constraint.sum_values)
        return [(list(range(a, b)), s) for a, b, s in zip(starts, ends, sums, strict=True)]
    return None


def some_states(hilbert: AbstractHilbert, n: int, seed: int = 0) -> Shaped[Array, "n n_sites"]:
    """Random configurations of the space, the same each time."""
    # The warning is about slowness for many configurations; these are few.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnoptimisedCustomConstraintRandomStateMethodWarning)
        return hilbert.random_state(jax.random.key(seed), n)
