"""The Chebyshev descriptor of atomic environments."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.mlip.arrays import check_device, check_dtype
from ritz.mlip.data.structure import checked_species
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.basis_functions import (
    chebyshev_polynomials,
    contraction_of,
    cosine_cutoff,
    differentiation_of,
    lengths,
    monomials_of,
    unit_vectors,
)
from ritz.mlip.descriptors.derivatives import LocalDerivatives
from ritz.mlip.descriptors.pairs import by_kind
from ritz.types import Settings


@dataclasses.dataclass(frozen=True, init=False)
class ChebyshevDescriptor(AbstractDescriptor):
    """Features of atomic environments: radial and angular distributions in Chebyshev polynomials.

    With T_n the polynomials, f(d) = (cos(pi d / Rc) + 1) / 2 below the cutoff Rc and 0 beyond:

    - radial, n = 0..rad_order: R_n = sum_j T_n(2 d_j / Rc - 1) f(d_j);
    - angular, n = 0..ang_order: A_n = sum_{j<k} T_n(cos theta_jk) f(d_j) f(d_k);
    - with several species both once more, weighted by s_j and s_j s_k, where s is -1, 1 for two
      species, -1, 0, 1 for three, and so on in the order given, without 0 for even counts.

    Features are ordered [R, A, Rw, Aw] (Artrith, Urban and Ceder, Phys. Rev. B 96, 014112 (2017),
    in the convention of aenet). Angular sums over pairs are taken as squares of moments
    sum_j f(d_j) u_x^a u_y^b u_z^c, in a time linear in the number of neighbours.

    Args:
        species: Chemical symbols; their order fixes the weights s.
        rad_order: The highest radial order.
        rad_cutoff: In Angstrom.
        ang_order: The highest angular order.
        ang_cutoff: In Angstrom.
        min_cutoff: Neighbours closer than this, in Angstrom, are left out.
        dtype: "float64" or "float32", in which features are returned; they are computed in
            float64. `TrainingConfig(precision="auto")` trains in it.
        device: "cpu", "gpu" or "cuda", with a number as in "cuda:1", where features are
            computed; None for JAX's default. It is looked for when it is used, and is no part of
            files.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    species: tuple[str, ...]
    rad_order: int
    rad_cutoff: float
    ang_order: int
    ang_cutoff: float
    min_cutoff: float
    dtype: str
    device: str | None = dataclasses.field(default=None, compare=False, repr=False)

    def __init__(
        self,
        species: Sequence[str],
        rad_order: int,
        rad_cutoff: float,
        ang_order: int,
        ang_cutoff: float,
        min_cutoff: float = 0.55,
        dtype: DTypeLike = "float64",
        device: str | None = None,
    ):
        check_count("rad_order", rad_order, 0)
        check_count("ang_order", ang_order, 0)
        values = {
            "species": checked_species(species),
            "rad_order": rad_order,
            "rad_cutoff": check_positive("rad_cutoff", rad_cutoff),
            "ang_order": ang_order,
            "ang_cutoff": check_positive("ang_cutoff", ang_cutoff),
            "min_cutoff": check_positive("min_cutoff", min_cutoff, or_zero=True),
            "dtype": check_dtype("dtype", dtype),
            "device": check_device("device", device),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.min_cutoff >= self.cutoff:
            raise ValueError(
                f"min_cutoff must be below the cutoffs, but {min_cutoff!r} was given with "
                f"rad_cutoff={rad_cutoff!r} and ang_cutoff={ang_cutoff!r}."
            )

    @override
    def header(self) -> Settings:
        fields = super().header()
        del fields["descriptor"]  # files have none if it is this one
        return {**fields, "species": list(self.species)}

    @override
    def aenet_parameters(self) -> tuple[str, Float[np.ndarray, " n_parameters"]]:
        values = self.rad_cutoff, self.rad_order, self.ang_cutoff, self.ang_order
        return "Chebyshev", np.array(values, float)

    @classmethod
    def from_aenet(
        cls, species: Sequence[str], min_cutoff: float, parameters: Sequence[float]
    ) -> "ChebyshevDescriptor":
        """The descriptor of one of aenet's files.

        Args:
            species: The chemical symbols.
            min_cutoff: In Angstrom.
            parameters: The first four: radial cutoff and order, angular cutoff and order.
        """
        rad_cutoff, rad_order, ang_cutoff, ang_order = map(float, parameters)
        return cls(
            species,
            rad_order=int(rad_order),
            rad_cutoff=rad_cutoff,
            ang_order=int(ang_order),
            ang_cutoff=ang_cutoff,
            min_cutoff=min_cutoff,
        )

    @property
    def cutoff(self) -> float:  # type: ignore[override]
        """The larger of both cutoffs, in Angstrom."""
        return max(self.rad_cutoff, self.ang_cutoff)

    @property
    def n_features(self) -> int:  # type: ignore[override]
        """Number of radial and angular features; twice as many if there are several species."""
        return (self.rad_order + self.ang_order + 2) * (1 + self.is_weighted)

    @property
    @override
    def near_cutoff(self) -> float:
        return self.ang_cutoff

    @property
    @override
    def n_radial(self) -> int:
        return self.rad_order + 1

    @property
    @override
    def n_angular(self) -> int:
        return (self.ang_order + 1) * (1 + self.is_weighted)

    @property
    def is_weighted(self) -> bool:
        """Whether there are features weighted by species: if there are several."""
        return len(self.species) > 1

    @property
    def species_weights(self) -> np.ndarray:
        """The weight s of each species."""
        n = len(self.species)
        if n % 2:
            return np.arange(n) - n // 2.0
        half = np.arange(1, n // 2 + 1.0)
        return np.concatenate([-half[::-1], half])

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """The atomic number of each species."""
        return tuple(atomic_numbers[symbol] for symbol in self.species)

    @property
    def parts(self) -> tuple[slice, slice, slice, slice]:
        """Where R, A, Rw and Aw are among the features; the last two are empty for one species."""
        ends = np.cumsum([self.rad_order + 1, self.ang_order + 1] * (1 + self.is_weighted))
        bounds = [0, *map(int, ends), *[int(ends[-1])] * (2 - 2 * self.is_weighted)]
        a, b, c, d = itertools.starmap(slice, itertools.pairwise(bounds))
        return a, b, c, d

    # Features as functions of the vectors to the neighbours.

    def radial_basis(self, distances: Array) -> Float[Array, "*batch rad_order+1 n_neighbors"]:
        """The terms of the radial sums, (..., n) -> (..., rad_order + 1, n)."""
        x = jnp.minimum(2 * distances / self.rad_cutoff - 1, 1)
        envelope = cosine_cutoff(distances, self.rad_cutoff)
        return jnp.stack([t * envelope for t in chebyshev_polynomials(x, self.rad_order)], axis=-2)

    def radial(
        self, vectors: Array, pairs: Array, weights: Array
    ) -> Float[Array, "*batch n_radial"]:
        """R, and Rw after it if there are several species.

        Args:
            vectors: From each atom to its neighbours, in Angstrom.
            pairs: Which entries hold a neighbour; it may be farther than the cutoff.
            weights: The weight s of each neighbour's species.
        """
        distances, pairs = self._distances(vectors, pairs)
        terms: Any = jnp.where(pairs[..., None, :], self.radial_basis(distances), 0)
        plain = jnp.sum(terms, axis=-1)
        if not self.is_weighted:
            return plain
        weighted = jnp.sum(terms * weights[..., None, :], axis=-1)
        return jnp.concatenate([plain, weighted], axis=-1)

    def angular(
        self, vectors: Array, pairs: Array, weights: Array
    ) -> Float[Array, "*batch n_angular"]:
        """A, and Aw after it if there are several species; arguments as for `radial`."""
        distances, pairs = self._distances(vectors, pairs)
        envelope: Any = jnp.where(pairs, cosine_cutoff(distances, self.ang_cutoff), 0)
        monomials = monomials_of(unit_vectors(vectors, distances, pairs), self.ang_order)

        factors = jnp.stack([jnp.ones_like(weights), weights][: 1 + self.is_weighted], axis=-1)
        terms = envelope[..., None] * factors
        moments = jnp.moveaxis(monomials @ terms, -1, -2)
        alone = jnp.moveaxis(jnp.sum(terms**2, axis=-2, keepdims=True), -1, -2)
        contraction = jnp.asarray(contraction_of(self.ang_order), vectors.dtype)
        sums = (moments**2 @ contraction.T - alone) / 2
        return sums.reshape(*sums.shape[:-2], -1)

    @override
    def features(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int | None = None
    ) -> Float[Array, "*batch n_features"]:
        weights = self.weights_of(kinds).astype(vectors.dtype)
        closest = vectors[..., :near, :], pairs[..., :near], weights[..., :near]
        return self.ordered(self.radial(vectors, pairs, weights), self.angular(*closest))

    def weights_of(self, kinds: Array) -> Array:
        """The weights s, by the places of the species."""
        return jnp.asarray(self.species_weights)[kinds]

    def ordered(self, radial: Array, angular: Array) -> Array:
        """[R, A, Rw, Aw] from [R, Rw] and [A, Aw]."""
        n_radial, n_angular = self.rad_order + 1, self.ang_order + 1
        return jnp.concatenate(
            [
                radial[..., :n_radial],
                angular[..., :n_angular],
                radial[..., n_radial:],
                angular[..., n_angular:],
            ],
            axis=-1,
        )

    def _distances(self, vectors: Array, pairs: Array) -> tuple[Array, Array]:
        """The distances, and where there is a neighbour that is not too close."""
        distances, there = lengths(vectors, pairs)
        return distances, there & (distances >= self.min_cutoff)

    @override
    def local_derivatives(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int
    ) -> LocalDerivatives:
        weights = self.weights_of(kinds)
        distances, pairs = self._distances(vectors, pairs)
        _, by_distance = jax.jvp(self.radial_basis, (distances,), (jnp.ones_like(distances),))
        slopes: Any = jnp.where(pairs[..., None, :], by_distance, 0)
        units = jnp.moveaxis(unit_vectors(vectors, distances, pairs), -1, -2)
        angular = self._angular_derivatives(
            distances[..., :near], pairs[..., :near], weights[..., :near], units[..., :near]
        )
        return LocalDerivatives(slopes, units, angular, distances)

    @override
    def pullback(
        self, by_feature: Array, local: LocalDerivatives, kinds: Array
    ) -> tuple[Array, Array]:
        dtype = local.slopes.dtype  # selection, since a lookup for each pair takes longer
        weights = by_kind(kinds, [jnp.asarray(s, dtype) for s in self.species_weights])
        weights = jnp.broadcast_to(weights, kinds.shape)
        radial, angular, radial_w, angular_w = (by_feature[:, part] for part in self.parts)
        pull = jnp.einsum("ank,an->ak", local.slopes, radial)
        if self.is_weighted:
            pull += weights * jnp.einsum("ank,an->ak", local.slopes, radial_w)
            angular = jnp.concatenate([angular, angular_w], axis=-1)
        n_atoms, n_angular, _, near = local.angular.shape
        push = jnp.einsum("amp,am->ap", local.angular.reshape(n_atoms, n_angular, -1), angular)
        return pull, push.reshape(n_atoms, 3, near)

    def _angular_derivatives(
        self, distances: Array, pairs: Array, weights: Array, units: Array
    ) -> Array:
        """Derivatives of A and Aw by the vectors v_j.

        With P_n(u) = sum_k f_k T_n(u . u_k), a polynomial in u whose coefficients the moments
        give, dA_n/dv_j = u_j f'_j (P_n(u_j) - f_j) + (1 - u_j u_j) grad P_n(u_j) f_j / d_j.
        """
        order = self.ang_order
        monomials = monomials_of(jnp.moveaxis(units, -2, -1), order)
        envelope, slope = jax.jvp(
            lambda d: cosine_cutoff(d, self.ang_cutoff), (distances,), (jnp.ones_like(distances),)
        )
        contraction = jnp.asarray(contraction_of(order), distances.dtype)
        lower, factors = differentiation_of(order)
        n_lower = lower.shape[1]
        parts = []
        for factor in (1.0, weights)[: 1 + self.is_weighted]:
            f: Any = jnp.where(pairs, envelope * factor, 0)
            by_distance: Any = jnp.where(pairs, slope * factor, 0)
            f, by_distance = f[..., None, :], by_distance[..., None, :]
            moments = jnp.sum(monomials * f, axis=-1)
            coefficients = contraction * moments[..., None, :]  # of P_n
            values = coefficients @ monomials
            gradients = [
                (coefficients[..., lower[axis]] * factors[axis]) @ monomials[..., :n_lower, :]
                for axis in range(3)
            ]
            along = sum(gradients[axis] * units[..., axis, None, :] for axis in range(3))
            radial = by_distance * (values - f)
            parts.append(
                jnp.stack(
                    [
                        units[..., axis, None, :] * (radial - along * f / distances[..., None, :])
                        + gradients[axis] * f / distances[..., None, :]
                        for axis in range(3)
                    ],
                    axis=-2,
                )
            )
        return jnp.concatenate(parts, axis=-3)
