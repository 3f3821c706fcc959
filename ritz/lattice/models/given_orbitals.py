"""Orbitals with which a wave function is told to begin, checked and in one form."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from netket.hilbert import SpinOrbitalFermions
from netket.utils import HashableArray

from ritz.lattice.models.occupations import fermions_per_spin


def checked_orbitals(
    hilbert: SpinOrbitalFermions, orbitals: Any, generalized: bool
) -> tuple[HashableArray, ...]:
    """Orbitals of each spin, or with `generalized` of all fermions together, as hashable arrays.

    Args:
        hilbert: The space.
        orbitals: An array (n_sites, n) for each spin, or one for all spins; or one for all fermions
            (hilbert.size, n_fermions).
        generalized: Whether one array for all fermions is wanted. That of one spin each is then
            diagonal in blocks.

    Raises:
        ValueError: If arrays have another shape, or numbers that are not finite.
    """
    if isinstance(orbitals, tuple) and all(isinstance(o, HashableArray) for o in orbitals):
        return orbitals  # flax makes modules anew from their attributes
    numbers = fermions_per_spin(hilbert)
    whole = (hilbert.size, hilbert.n_fermions)
    is_sequence = isinstance(orbitals, list | tuple)
    if not is_sequence and (numbers is None or (generalized and np.shape(orbitals) == whole)):
        return (_array("orbitals", orbitals, whole),)
    if numbers is None:
        raise ValueError(
            f"{hilbert} does not fix the number of fermions of each spin, so that orbitals must be "
            f"one array of shape {whole}, not one for each spin."
        )
    of_spin = list(orbitals) if is_sequence else [orbitals] * len(numbers)
    if len(of_spin) != len(numbers):
        raise ValueError(
            f"orbitals takes an array for each of {len(numbers)} spins, but {len(of_spin)} were "
            "given."
        )
    checked = tuple(
        _array(f"orbitals[{spin}]" if is_sequence else "orbitals", one, (hilbert.n_orbitals, n))
        for spin, (one, n) in enumerate(zip(of_spin, numbers, strict=True))
    )
    return (_in_blocks([one.wrapped for one in checked]),) if generalized else checked


def _in_blocks(arrays: list[np.ndarray]) -> HashableArray:
    from scipy.linalg import block_diag

    return HashableArray(np.asarray(block_diag(*arrays)))


def _array(name: str, value: Any, shape: tuple[Any, ...]) -> HashableArray:
    array = np.asarray(value)
    if array.shape != shape:
        raise ValueError(
            f"{name} must have the shape {shape} (sites, fermions), but {array.shape} was given."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has numbers that are not finite.")
    return HashableArray(array)


def with_noise(given: Any, noise: Array) -> Array:
    """`given`, to which noise is added for all but the first of several determinants.

    Raises:
        ValueError: If it is complex, and the noise, of the parameters' type, is not.
    """
    given = jnp.asarray(given)
    if jnp.iscomplexobj(given) and not jnp.iscomplexobj(noise):
        raise ValueError("orbitals are complex, but parameters real: give param_dtype=complex.")
    return (given + 0.1 * noise.at[0].set(0)).astype(noise.dtype)
