"""Projection of wave functions onto symmetry sectors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Inexact, Int, Shaped
from netket.utils import HashableArray
from netket.utils.group import PermutationGroup


class Symmetrized(nn.Module):
    """P psi = 1/|G| sum_g chi(g)* g psi, the part of psi in a symmetry sector, g psi = chi(g) psi.

    (g psi)(x) = psi(g^-1 x). Its parameters are those of `model`, name by name, so that a state
    that was trained without it can be evaluated with it, and the other way round. An evaluation of
    log psi takes one of the model for each element of G.

    Elements of G permute sites, and may exchange the two states of all sites (`inversion`).
    Several sectors of the same representation of dimension above 1 are not told apart: with its
    character, P projects onto all of them. Fermions get the sign of the permutation of occupied
    orbitals.

    Raises:
        ValueError: If `character` does not fit the group, or the group the configurations.
    """

    model: nn.Module
    """A flax module, configurations -> log psi."""
    group: Any = None
    """A group of permutations of NetKet, such as `graph.space_group()`, or an array p, shape
    (n_elements, n_sites), with g^-1 x = x[p]. None for the identity alone. Where configurations
    have several values for each site, one after the other as those of fermions with spins, each
    kind is permuted alike."""
    character: Any = None
    """chi(g) of each element, shape (n_elements,), in the order of the group: a row of
    `group.character_table()`, or exp(i k n) for translations by n sites; None for 1."""
    inversion: int | None = None
    """1 or -1: P psi is even or odd if the two states of all sites are exchanged; None for no such
    symmetry."""
    states_sum: int = 0
    """The sum of the two states of a site, for `inversion`: 0 for spins, 1 for occupations."""
    fermions: bool = False
    """Whether configurations are occupations of fermionic orbitals."""

    def setup(self) -> None:
        """Share the model's parameters."""
        nn.share_scope(self, self.model)

    def __post_init__(self) -> None:
        for name in ("group", "character"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, HashableArray | PermutationGroup):
                object.__setattr__(self, name, HashableArray(np.asarray(given)))
        if self.inversion not in (None, 1, -1):
            raise ValueError(f"inversion must be 1, -1 or None, but {self.inversion!r} was given.")
        if self.inversion is not None and self.fermions:
            raise ValueError("inversion exchanges states of spins or bosons, not of fermions.")
        super().__post_init__()

    def __call__(self, x: Shaped[Array, "*batch n_values"]) -> Inexact[Array, "*batch"]:
        """Log P psi of each configuration; -inf where it is zero."""
        images, factors = x[..., None, :], np.ones(1)
        signs: Any = None
        if self.group is not None:
            permutations = _permutations(self.group, x.shape[-1])
            images, factors = x[..., permutations], self._characters(len(permutations))
            if self.fermions:
                signs = _signs(x, permutations)
        if self.inversion is not None:
            other = jnp.asarray(self.states_sum, x.dtype) - images
            images = jnp.concatenate([images, other], axis=-2)
            factors = np.concatenate([factors, self.inversion * factors])
            signs = None if signs is None else jnp.concatenate([signs, signs], axis=-1)
        rows = self.model(images.reshape(-1, images.shape[-1]))
        log_psi = rows.reshape(images.shape[:-1])
        if signs is None and np.all(factors == 1) and not jnp.iscomplexobj(log_psi):
            return jax.nn.logsumexp(log_psi, axis=-1) - np.log(len(factors))
        weights = jnp.asarray(factors) if signs is None else signs * factors
        return _log_mean(log_psi, weights)

    def _characters(self, n: int) -> np.ndarray:
        """chi(g)* of each element; real if it is."""
        character: Any = self.character
        values: Any = np.ones(n) if character is None else np.asarray(character.wrapped)
        if values.shape != (n,):
            raise ValueError(
                f"character must have one number for each of the {n} elements of the group, but "
                f"its shape is {values.shape}."
            )
        return values.conj() if np.any(np.imag(values)) else values.real.astype(float)


def _on_sites(group: Any) -> Int[np.ndarray, "n_elements n_sites"]:
    """Arrays p with g^-1 x = x[p]."""
    if isinstance(group, PermutationGroup):
        # NetKet's arrays are those of (g x) = x[p].
        return np.argsort(group.to_array(), axis=1)
    return np.asarray(group.wrapped)


def _permutations(group: Any, n_values: int) -> Int[np.ndarray, "n_elements n_values"]:
    """Permutations of all values of a configuration.

    Raises:
        ValueError: If there are not as many values for each site.
    """
    on_sites = _on_sites(group)
    n_sites = on_sites.shape[-1]
    wrong = on_sites.ndim != 2 or np.any(np.sort(on_sites, axis=-1) != np.arange(n_sites))
    if wrong:
        raise ValueError(
            "group must be a group of permutations of NetKet or an array of permutations, shape "
            f"(n_elements, n_sites), but one of shape {on_sites.shape} was given."
        )
    if n_values % n_sites:
        raise ValueError(
            f"the group permutes {n_sites} sites, but configurations have {n_values} values; take "
            "the group of the graph on which the space is."
        )
    kinds = range(0, n_values, n_sites)
    return np.concatenate([on_sites + first for first in kinds], axis=1)


def _signs(
    x: Shaped[Array, "*batch n_values"], permutations: Int[np.ndarray, "g n_values"]
) -> Float[Array, "*batch g"]:
    """Signs of the permutations of occupied orbitals, which are filled in their order."""
    moved = np.argsort(permutations, axis=1)
    earlier = np.triu(np.ones((moved.shape[1],) * 2, bool), k=1)
    crossed = earlier & (moved[:, :, None] > moved[:, None, :])
    n = x.astype(jnp.float32)
    inversions = jnp.einsum("...i,gij,...j->...g", n, crossed.astype(np.float32), n)
    return 1.0 - 2.0 * jnp.mod(jnp.round(inversions), 2)


def _log_mean(
    log_psi: Inexact[Array, "*batch g"], weights: Inexact[Array, "*#batch g"]
) -> Inexact[Array, "*batch"]:
    """Complex logarithm of the mean of weights times psi; -inf where it is zero."""
    largest = jnp.max(log_psi.real, axis=-1, keepdims=True)
    largest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    total = jnp.mean(weights * jnp.exp(log_psi - largest), axis=-1).astype(
        jnp.result_type(log_psi.dtype, jnp.complex64)
    )
    vanishes = total == 0
    found = jnp.log(jnp.where(vanishes, 1, total)) + largest[..., 0]
    return jnp.where(vanishes, -jnp.inf, found)
