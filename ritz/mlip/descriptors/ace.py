"""The atomic cluster expansion."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_count, check_positive
from ritz.mlip.arrays import check_device, check_dtype
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.data.structure import checked_species
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.basis_functions import (
    chebyshev_polynomials,
    cosine_cutoff,
    lengths,
    unit_vectors,
)
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.descriptors.derivatives import LocalDerivatives, Tables, tables_of
from ritz.mlip.descriptors.invariants import (
    MOST_DENSITIES,
    Products,
    degrees_of,
    parts_of,
    products_of,
    sizes_of,
)
from ritz.mlip.descriptors.pairs import nearest_distance
from ritz.mlip.descriptors.spherical_harmonics import real_spherical_harmonics

_NEAREST_OF_CUTOFF = 0.4
"""A usual ratio of the distance of nearest neighbours to the cutoff."""

_LEAST_CUTOFF, _CUTOFF_OF_NEAREST, _LARGEST_NEAREST = 5.0, 2.1, 0.8
"""What `for_structures` takes by default, in Angstrom, nearest distances and cutoffs."""


_BLOCK = 32
"""Number of atoms whose products are computed at once on CPUs, so that they fit into caches: 1,270
features and their derivative take 0.38 ms an atom by blocks of 32, 1.1 ms by 512."""


def _in_blocks(function: Callable[[Array], Array], rows: Array) -> Array:
    """A function of rows, applied to a block of them after the other on CPUs, or to all."""
    n_rows = len(rows)
    if n_rows <= _BLOCK or jax.default_backend() != "cpu":
        return function(rows)
    blocks = jnp.pad(rows, ((0, -n_rows % _BLOCK), (0, 0))).reshape(-1, _BLOCK, rows.shape[1])
    found = jax.lax.map(function, blocks)
    return found.reshape(-1, found.shape[-1])[:n_rows]


@dataclasses.dataclass(frozen=True, init=False)
class ACEDescriptor(AbstractDescriptor):
    """The invariants of the atomic cluster expansion, up to products of four densities.

    R. Drautz, Phys. Rev. B 99, 014104 (2019). The density of an atom, A_znlm, is the sum of
    R_n(r) Y_lm over its neighbours of element z. Features are all independent sums of products of
    one to four densities that do not change under rotations, reflections and exchange of equal
    densities (G. Dusson et al., J. Comput. Phys. 454, 110946 (2022)): they depend on an atom and up
    to as many neighbours, which is a body order of two to five. The radial functions are
    T_n(x) f_c(r), with Chebyshev polynomials of x, which runs from -1 at the cutoff to 1 at the
    atom, as ((1 + nearest) / (1 + r))^2 does with lengths in units of `nearest`, and f_c of
    `ChebyshevDescriptor`.

    Args:
        species: Chemical symbols of the elements.
        cutoff: In Angstrom.
        degrees: For each number of densities in a product, from one on, the largest total degree of
            the polynomials: the sum of n + l over the densities. Its length sets the body order.
            Or "small", "medium" or "large", for up to about 150, 500 or 1300 features.
        nearest: A usual distance of nearest neighbours in Angstrom, at which the radial functions
            have most of their resolution; by default 0.4 times the cutoff.
        dtype: "float64" or "float32", see `ChebyshevDescriptor`.
        device: Where features are computed, see `ChebyshevDescriptor`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    species: tuple[str, ...]
    cutoff: float
    degrees: tuple[int, ...]
    nearest: float
    dtype: str
    device: str | None = dataclasses.field(default=None, compare=False)
    atoms_at_once: ClassVar[int] = 128

    def __init__(
        self,
        species: Sequence[str],
        cutoff: float = 5.0,
        degrees: Sequence[int] | str = (10, 8, 6),
        nearest: float | None = None,
        dtype: DTypeLike = "float64",
        device: str | None = None,
    ):
        reach = check_positive("cutoff", cutoff)
        close = check_positive(
            "nearest", _NEAREST_OF_CUTOFF * reach if nearest is None else nearest
        )
        if isinstance(degrees, str):
            degrees = degrees_of(degrees, len(checked_species(species)))
        if not isinstance(degrees, Sequence):
            raise TypeError(f"degrees are whole numbers, such as (10, 8, 6), not {degrees!r}.")
        if not 1 <= len(degrees) <= MOST_DENSITIES:
            raise ValueError(
                f"degrees are of products of one to {MOST_DENSITIES} densities, a number for each, "
                f"but {len(degrees)} were given."
            )
        if close >= reach:
            raise ValueError(f"nearest must be below the cutoff {reach:g}, not {close:g} Angstrom.")
        checked = tuple(check_count(f"degrees[{k}]", one, 0) for k, one in enumerate(degrees))
        object.__setattr__(self, "species", checked_species(species))
        object.__setattr__(self, "cutoff", reach)
        object.__setattr__(self, "degrees", checked)
        object.__setattr__(self, "nearest", close)
        object.__setattr__(self, "dtype", check_dtype("dtype", dtype))
        object.__setattr__(self, "device", check_device("device", device))

    @classmethod
    def for_structures(
        cls,
        structures: StructuresLike,
        cutoff: float | None = None,
        degrees: Sequence[int] | str = "medium",
        nearest: float | None = None,
        **more: Any,
    ) -> Self:
        """The descriptor with the species and the usual distances of structures.

        Args:
            structures: `Structure` or `ase.Atoms`, one or many: those that are trained on.
            cutoff: By default 5 Angstrom, or 2.1 usual distances of nearest neighbours if that is
                more.
            degrees: As for the descriptor.
            nearest: By default `nearest_distance` of the structures, or 0.8 cutoffs if that is
                less.
            **more: Further arguments of the descriptor; `species` may be among them.

        Raises:
            ValueError: If there is no structure, or a value is not allowed.
        """
        listed = as_structures(structures)
        species = more.pop("species", None) or sorted({s for each in listed for s in each.species})
        usual = nearest_distance(listed) if nearest is None else nearest
        if cutoff is None:
            cutoff = round(max(_LEAST_CUTOFF, _CUTOFF_OF_NEAREST * usual), 3)
        if nearest is None:
            nearest = round(min(usual, _LARGEST_NEAREST * cutoff), 3)
        return cls(species, cutoff, degrees, nearest, **more)

    @property
    def body_order(self) -> int:
        """Number of atoms that features depend on at once, the central one included."""
        return len(self.degrees) + 1

    @property
    def n_features(self) -> int:  # type: ignore[override]
        """Number of independent invariants."""
        return sum(products.n_features for products in self._products)

    @property
    def _products(self) -> tuple[Products, ...]:
        return products_of(len(self.species), self.degrees)

    def _radial(self, distances: Array) -> Array:
        """Radial functions, on a new last axis."""
        n_radial, _ = sizes_of(self.degrees)

        end = (2 / (1 + self.cutoff / self.nearest)) ** 2
        x = 2 * ((2 / (1 + distances / self.nearest)) ** 2 - end) / (4 - end) - 1
        polynomials = jnp.stack(chebyshev_polynomials(x, n_radial - 1), axis=-1)
        return polynomials * cosine_cutoff(distances, self.cutoff)[..., None]

    def _of_neighbour(self, vector: Float[Array, " 3"], there: Array) -> Array:
        """What a neighbour adds to the densities of its element, (n_parts,)."""
        radial, harmonics = parts_of(self.degrees)
        distance, is_known = lengths(vector, there)
        _, order = sizes_of(self.degrees)
        angular = real_spherical_harmonics(unit_vectors(vector, distance, is_known), order)
        return jnp.where(is_known, self._radial(distance)[radial] * angular[harmonics], 0)

    def _elements(self, kinds: Array, like: Array) -> Array:
        """1 for the element of each neighbour, or else 0: (atoms, n_neighbors, n_elements)."""
        return jax.nn.one_hot(kinds, len(self.species), dtype=like.dtype)

    def densities(
        self, vectors: Array, pairs: Array, kinds: Array
    ) -> Float[Array, "atoms n_densities"]:
        """The A_znlm of atoms that features need, of the first element first; see `features`."""
        terms = jax.vmap(jax.vmap(self._of_neighbour))(jnp.asarray(vectors), jnp.asarray(pairs))
        found = jnp.einsum("akz,aku->azu", self._elements(kinds, terms), terms)
        return found.reshape(len(found), -1)

    @override
    def features(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int | None = None
    ) -> Float[Array, "atoms n_features"]:
        return _in_blocks(self._invariants, self.densities(vectors, pairs, kinds))

    def _invariants(
        self, densities: Float[Array, "atoms n_densities"]
    ) -> Float[Array, "atoms n_features"]:
        found, rows = [], densities.T
        for products in self._products:
            terms = products.factors[:, None] * rows[products.places[:, 0]]
            for places in products.places[:, 1:].T:
                terms = terms * rows[places]
            sums = jax.ops.segment_sum(
                terms, products.owners, products.n_features, indices_are_sorted=True
            )
            found.append(sums)
        return jnp.concatenate(found).T

    @property
    def n_angular(self) -> int:
        """None: `pullback` differentiates features again, from vectors, which take less memory."""
        return 0

    @override
    def local_derivatives(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int
    ) -> LocalDerivatives:
        distances, there = lengths(jnp.asarray(vectors), jnp.asarray(pairs))
        units = jnp.moveaxis(unit_vectors(vectors, distances, there), -1, -2)
        n_atoms, width = distances.shape
        slopes = jnp.zeros((n_atoms, 0, width), units.dtype)
        return LocalDerivatives(
            slopes, units, jnp.zeros((n_atoms, 0, 3, near), units.dtype), distances
        )

    @override
    def tables(self, chunk: Chunk, widths: Sequence[int], dtype: str, with_stress: bool) -> Tables:
        return tables_of(self, chunk, widths, dtype, stress=True)  # with distances

    @override
    def pullback(
        self, by_feature: Array, local: LocalDerivatives, kinds: Array
    ) -> tuple[Array, Array]:
        assert local.distances is not None
        units = jnp.moveaxis(jnp.asarray(local.units), -1, -2)
        pairs = jnp.any(units != 0, axis=-1)
        vectors = units * jnp.where(pairs, local.distances, 0)[..., None]

        def features(vectors: Array) -> Array:
            return self.features(vectors, pairs, kinds, kinds[:, 0])

        slopes = jax.vjp(features, vectors)[1](by_feature)[0]
        return jnp.zeros(pairs.shape, units.dtype), jnp.moveaxis(slopes, -1, -2)

    @override
    def pair_derivatives(
        self, vectors: Array, pairs: Array, kinds: Array, centres: Array, near: int
    ) -> Float[Array, "atoms n_features 3 n_neighbors"]:
        densities = self.densities(vectors, pairs, kinds)
        slopes = jax.vmap(jax.vmap(jax.jacfwd(self._of_neighbour)))
        of_neighbours = slopes(jnp.asarray(vectors), jnp.asarray(pairs))
        elements = self._elements(kinds, of_neighbours)
        n_parts, n_elements = of_neighbours.shape[2], elements.shape[2]
        found = []
        for products in self._products:
            parts = np.unique(products.places % n_parts)  # longer products have fewer densities
            of_elements = elements[..., None, None] * of_neighbours[:, :, None, parts]
            used = (np.arange(n_elements)[:, None] * n_parts + parts).ravel()
            by_density = _by_density(products, used, densities)
            by_part = by_density.reshape(*by_density.shape[:2], n_elements, len(parts))
            found.append(jnp.einsum("afzu,akzux->afxk", by_part, of_elements))
        return jnp.concatenate(found, axis=1)


def _by_density(
    products: Products, used: np.ndarray, densities: Float[Array, "atoms n_densities"]
) -> Float[Array, "atoms n_features n_used"]:
    """Derivatives of products by some densities, all those that they have among them."""
    rows, length = densities.T, products.places.shape[1]
    factors = jnp.broadcast_to(products.factors[:, None], (len(products.factors), len(densities)))
    terms = [
        math.prod((rows[products.places[:, p]] for p in range(length) if p != place), start=factors)
        for place in range(length)
    ]
    # Terms of the same feature and density are added up, and only these put into the table.
    flat = products.owners[:, None] * len(used) + np.searchsorted(used, products.places)
    there, owners = np.unique(flat.T.ravel(), return_inverse=True)
    order = np.argsort(owners, kind="stable")
    sums = jax.ops.segment_sum(
        jnp.concatenate(terms)[order], owners[order], len(there), indices_are_sorted=True
    )
    table = jnp.zeros((len(densities), products.n_features * len(used)), densities.dtype)
    table = table.at[:, there].set(sums.T, unique_indices=True, indices_are_sorted=True)
    return table.reshape(len(densities), products.n_features, len(used))
