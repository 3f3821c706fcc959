"""Projection of wave functions onto symmetry sectors."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact, Int, PyTree, Shaped
from typing_extensions import override

from ritz.lattice.local_update import LocalUpdate, TwoStates, local_update
from ritz.lattice.models.group_check import as_character, as_group, check_group, on_sites
from ritz.lattice.models.wrapper import Wrapper

LARGEST_GROUP = 16
"""Number of images of a configuration up to which local updates are worth their caches."""


class Symmetrized(Wrapper):
    """P psi = 1/|G| sum_g chi(g)* g psi, the part of psi in a symmetry sector, g psi = chi(g) psi.

    (g psi)(x) = psi(g^-1 x). Its parameters are those of `model`, name by name, so that a state
    that was trained without it can be evaluated with it, and the other way round. An evaluation of
    log psi takes one of the model for each element of G.

    Elements of G permute sites, and may exchange the two states of all sites (`inversion`).
    Several sectors of the same representation of dimension above 1 are not told apart: with its
    character, P projects onto all of them. Fermions get the sign of the permutation of occupied
    orbitals.

    Raises:
        TypeError: If the model is no flax module, or the group none of permutations.
        ValueError: If permutations are no group, `character` is none of an irreducible
            representation of it (both are multiplied out for groups of up to `LARGEST` of
            `ritz.lattice.models.group_check`), or the group does not fit the configurations.
    """

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

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(
                "model must be a flax module, such as ritz.lattice.models.ResNet(extent), but "
                f"{self.model!r} was given."
            )
        group, character = as_group(self.group), as_character(self.character)
        object.__setattr__(self, "group", group)  # hashable, as modules must be
        object.__setattr__(self, "character", character)
        if group is not None:
            check_group(group, character)
        elif character is not None:
            raise ValueError(
                "character needs a group; give group=graph.space_group(), for example."
            )
        if isinstance(self.inversion, bool) or self.inversion not in (None, 1, -1):
            raise ValueError(f"inversion must be 1, -1 or None, but {self.inversion!r} was given.")
        if self.inversion is not None and self.fermions:
            raise ValueError("inversion exchanges states of spins or bosons, not of fermions.")
        super().__post_init__()

    def __call__(self, x: Shaped[Array, "*batch n_values"]) -> Inexact[Array, "*batch"]:
        """Log P psi of each configuration; -inf where it is zero."""
        images = self.images(x)
        rows = self.model(images.reshape(-1, images.shape[-1]))
        log_psi = rows.reshape(images.shape[:-1])
        if not self.fermions:
            return _log_mean(log_psi, self.factors())
        permutations = _permutations(self.group, x.shape[-1])
        return _log_mean(log_psi, _signs(x, permutations) * self.factors())

    def images(
        self, x: Shaped[Array, "*batch n_values"]
    ) -> Shaped[Array, "*batch n_images n_values"]:
        """g^-1 x for each element of G."""
        images = x[..., None, :]
        if self.group is not None:
            images = x[..., _permutations(self.group, x.shape[-1])]
        if self.inversion is None:
            return images
        return jnp.concatenate([images, self.exchanged(images)], axis=-2)

    def exchanged(self, values: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
        """The other state of each value."""
        return jnp.asarray(self.states_sum, values.dtype) - values

    def factors(self) -> Inexact[np.ndarray, " n_images"]:
        """chi(g)* of each element of G."""
        factors = np.ones(1)
        if self.group is not None:
            factors = self._characters(len(on_sites(self.group)))
        if self.inversion is None:
            return factors
        return np.concatenate([factors, self.inversion * factors])

    def _characters(self, n: int) -> np.ndarray:
        """chi(g)* of each element; real if it is."""
        character: Any = self.character
        values: Any = np.ones(n) if character is None else np.asarray(character.wrapped)
        return values.conj() if np.any(np.imag(values)) else values.real.astype(float)


def _permutations(group: Any, n_values: int) -> Int[np.ndarray, "n_elements n_values"]:
    """Permutations of all values of a configuration.

    Raises:
        ValueError: If there are not as many values for each site.
    """
    by_site = on_sites(group)
    n_sites = by_site.shape[-1]
    if n_values % n_sites:
        raise ValueError(
            f"the group permutes {n_sites} sites, but configurations have {n_values} values; take "
            "the group of the graph on which the space is."
        )
    kinds = range(0, n_values, n_sites)
    return np.concatenate([by_site + first for first in kinds], axis=1)


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
    log_psi: Inexact[Array, "*batch g"], weights: Array | np.ndarray
) -> Inexact[Array, "*batch"]:
    """Logarithm of the mean of weights times psi, -inf where it is zero.

    Complex, but for numbers of one sign that all count alike.

    Args:
        log_psi: The logarithms.
        weights: Shape (*batch, g), or (g,) if they are the same for all.
    """
    is_mean = isinstance(weights, np.ndarray) and bool(np.all(weights == 1))
    if is_mean and not jnp.iscomplexobj(log_psi):
        return jax.nn.logsumexp(log_psi, axis=-1) - np.log(len(weights))
    largest = jnp.max(log_psi.real, axis=-1, keepdims=True)
    largest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    total = jnp.mean(weights * jnp.exp(log_psi - largest), axis=-1).astype(
        jnp.result_type(log_psi.dtype, jnp.complex64)
    )
    vanishes = total == 0
    found = jnp.log(jnp.where(vanishes, 1, total)) + largest[..., 0]
    return jnp.where(vanishes, -jnp.inf, found)


class _Tables(NamedTuple):
    params: PyTree
    inner: PyTree


class _Cache(NamedTuple):
    inner: PyTree
    """Caches of all images; arrays of shape (n_images, ..., n)."""
    log_psi: Inexact[Array, "n_images n"]
    """Log psi of the images, before the projection."""


@dataclasses.dataclass(frozen=True)
class SymmetrizedUpdate(LocalUpdate):
    """Local update of a projection: that of the model for all images of a configuration."""

    projection: Symmetrized
    """The projected model."""
    inner: LocalUpdate
    """Local update of the model itself."""

    def _places(self, sites: ArrayLike) -> Array:
        """Where each image has these sites of the configuration; the first axis is the image."""
        sites = jnp.asarray(sites)
        places = sites[None]
        if self.projection.group is not None:
            to = np.argsort(on_sites(self.projection.group), axis=1)
            kind, site = jnp.divmod(sites, to.shape[1])
            places = kind * to.shape[1] + jnp.asarray(to)[:, site]
        return places if self.projection.inversion is None else jnp.concatenate([places, places])

    def _log_mean(self, log_psi: Array) -> Array:
        return _log_mean(jnp.moveaxis(log_psi, 0, -1), self.projection.factors())

    @override
    def prepare(self, params: PyTree) -> _Tables:
        return _Tables(params, self.inner.prepare(params))

    @override
    def start(self, tables: _Tables, x: Array) -> _Cache:
        images = self.projection.images(x).swapaxes(0, 1)
        rows: Any = self.projection.model.apply(
            {"params": tables.params}, images.reshape(-1, x.shape[-1])
        )
        inner = jax.vmap(lambda image: self.inner.start(tables.inner, image))(images)
        return _Cache(inner, rows.reshape(images.shape[:-1]))

    @override
    def log_ratio(
        self, tables: _Tables, cache: _Cache, values: Array, sites: Int[Array, " k"]
    ) -> tuple[Inexact[Array, " n"], _Cache]:
        places = self._places(sites)
        own = jnp.broadcast_to(values, (len(places), *values.shape))
        if self.projection.inversion is not None:
            half = len(places) // 2
            own = jnp.concatenate([own[:half], self.projection.exchanged(own[half:])])

        def of_image(cache: PyTree, values: Array, sites: Array) -> tuple[Array, PyTree]:
            return self.inner.log_ratio(tables.inner, cache, values, sites)

        ratios, inner = jax.vmap(of_image)(cache.inner, own, places)
        log_psi = (cache.log_psi + ratios).astype(cache.log_psi.dtype)
        change = self._log_mean(log_psi) - self._log_mean(cache.log_psi)
        return change, _Cache(inner, log_psi)

    @override
    def log_ratios(
        self, tables: _Tables, cache: _Cache, x: Array, flips: Int[np.ndarray, "m k"]
    ) -> Inexact[Array, "n m"]:
        with jax.ensure_compile_time_eval():
            places = np.asarray(self._places(flips))
        images = self.projection.images(x)
        ratios = [
            self.inner.log_ratios(
                tables.inner,
                jax.tree.map(lambda leaf, g=g: leaf[g], cache.inner),
                images[:, g],
                own,
            )
            for g, own in enumerate(places)
        ]
        after = cache.log_psi[..., None] + jnp.stack(ratios)
        return self._log_mean(after) - self._log_mean(cache.log_psi)[:, None]


@local_update.register
def _(model: Symmetrized, states: TwoStates) -> LocalUpdate | None:
    inner = local_update(model.model, states)
    exchanges = model.inversion is None or model.states_sum == sum(states)
    if inner is None or model.fermions or not exchanges or len(model.factors()) > LARGEST_GROUP:
        return None
    return SymmetrizedUpdate(model, inner)
