"""Occupation numbers of fermions as arguments of wave functions."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, Int, Num
from netket.hilbert import SpinOrbitalFermions

from ritz.checks import check_count


def check_space(model: str, hilbert: Any) -> None:
    """Refuse spaces without a fixed number of fermions.

    Raises:
        TypeError: If the space is not one of fermions.
        ValueError: If the number of fermions is not fixed, or is zero.
    """
    if not isinstance(hilbert, SpinOrbitalFermions):
        raise TypeError(
            f"{model} is for fermions: give a netket.hilbert.SpinOrbitalFermions, not {hilbert!r}."
        )
    if not hilbert.n_fermions:
        raise ValueError(
            f"{model} needs a fixed number of fermions, of at least one, but {hilbert} was given; "
            "give n_fermions=... or n_fermions_per_spin=(n_down, n_up) to SpinOrbitalFermions."
        )


def fermions_per_spin(hilbert: SpinOrbitalFermions) -> tuple[int, ...] | None:
    """The numbers of fermions of each spin; None if they are not fixed one by one."""
    numbers = hilbert.n_fermions_per_spin
    if hilbert.n_spin_subsectors == 1:
        return (int(hilbert.n_fermions),)  # pyright: ignore[reportArgumentType]
    return None if any(n is None for n in numbers) else tuple(map(int, numbers))  # pyright: ignore


def check_sizes(**sizes: int) -> None:
    """Refuse sizes of a model that are no whole numbers, or too small (`depth` may be zero)."""
    for name, value in sizes.items():
        check_count(name, value, 0 if name == "depth" else 1)


def is_occupied(
    model: str, hilbert: SpinOrbitalFermions, x: Num[Array, "*batch size"]
) -> Bool[Array, "n size"]:
    """Configurations as rows of booleans.

    Raises:
        ValueError: If they have another number of sites than the space.
    """
    if x.shape[-1] != hilbert.size:
        raise ValueError(
            f"{model} was made for {hilbert.size} sites (each spin has its own), as {hilbert} has, "
            f"but configurations of the shape {x.shape} were given."
        )
    return x.reshape(-1, hilbert.size) > 0.5


def places(occupied: Bool[Array, "n sites"], n_fermions: int) -> Int[Array, "n n_fermions"]:
    """The occupied sites of each row, in order."""
    counted = jnp.cumsum(occupied, axis=-1, dtype=jnp.int32)[:, None, :]
    is_place = (counted == jnp.arange(1, n_fermions + 1)[:, None]) & occupied[:, None, :]
    return jnp.sum(is_place * jnp.arange(occupied.shape[-1]), axis=-1)


def rows_at(
    orbitals: Inexact[Array, "... sites m"], places: Int[Array, "n k"]
) -> Inexact[Array, "n ... k m"]:
    """The rows of occupied sites, of orbitals shared by all configurations."""
    return jnp.moveaxis(orbitals[..., places, :], -3, 0)


def rows_of_each(
    orbitals: Inexact[Array, "n d sites m"], places: Int[Array, "n k"]
) -> Inexact[Array, "n d k m"]:
    """The rows of occupied sites, of orbitals that each configuration has for itself."""
    return jnp.take_along_axis(orbitals, places[:, None, :, None], axis=2)
