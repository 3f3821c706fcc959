"""The contract of descriptors, and what all of them share."""

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ritz.mlip.arrays import AnyArray
from ritz.mlip.data.datasets import FileRows
from ritz.mlip.data.labels import as_structure, as_structures
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.basis_functions import lengths, unit_vectors
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.descriptors.derivatives import (
    LocalDerivatives,
    Tables,
    forces,
    packed_derivatives,
    pair_derivatives,
    tables_of,
    unpacked_derivatives,
)
from ritz.mlip.descriptors.featurizing import features_of, widths_of
from ritz.mlip.descriptors.pairs import PairTable
from ritz.mlip.descriptors.registry import find, register, with_tuples
from ritz.types import Settings

if TYPE_CHECKING:
    import ase


class AbstractDescriptor(abc.ABC):
    """Features of atoms as a function of the vectors to their neighbours.

    A subclass is a frozen dataclass, whose fields are all that features depend on: so it is
    hashable, equal to others that compute the same, and can be written into files, under its name,
    which no class of another module may have. Sequences among the fields are tuples. It sets
    `species`, `cutoff` and `n_features`, and implements `features`. Derivatives, data sets, files,
    forces and stress follow from these. Where `local_derivatives` is given in closed form,
    training on forces is prepared faster; where features depend on distances alone, or on
    directions only up to `near_cutoff`, `n_radial` and `near_cutoff` save memory.
    """

    subclasses: ClassVar[dict[str, type["AbstractDescriptor"]]] = {}
    """All descriptors by name, as files call them."""

    species: tuple[str, ...]
    """The chemical symbols that it knows; their places are the `kinds` of atoms."""

    cutoff: float
    """Neighbours farther than this, in Angstrom, do not matter."""

    n_features: int
    """Number of features of an atom."""

    min_cutoff: float = 0.0
    """The smallest distance that it can tell, in Angstrom: closer neighbours are left out."""

    dtype: str = "float64"
    """"float64" or "float32", in which features are returned; they are computed in float64."""

    device: str | None = None
    """Where features are computed; None for JAX's default. It is no part of files."""

    atoms_at_once: ClassVar[int] = 1024
    """How many atoms are featurised at once; bounds the memory that it takes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the descriptor known to `from_header`.

        Raises:
            TypeError: If a class of another module has its name, by which files call it.
        """
        super().__init_subclass__(**kwargs)
        register(AbstractDescriptor.subclasses, cls)

    # What subclasses implement.

    @abc.abstractmethod
    def features(
        self,
        vectors: Float[AnyArray, "atoms n_neighbors 3"],
        pairs: Bool[AnyArray, "atoms n_neighbors"],
        kinds: Int[AnyArray, "atoms n_neighbors"],
        centres: Int[AnyArray, " atoms"],
        near: int | None = None,
    ) -> Float[AnyArray, "atoms n_features"]:
        """The features of atoms; a function that JAX can differentiate by `vectors`.

        They go to zero smoothly where a neighbour reaches the cutoff, and do not depend on the
        order of neighbours. Derivatives must be finite in empty entries too, whose vectors are 0.

        Args:
            vectors: From each atom to its neighbours, in Angstrom.
            pairs: Which entries hold a neighbour; it may be farther than the cutoff.
            kinds: The species of the neighbours, by their places in `species`.
            centres: The species of the atoms.
            near: If given, neighbours are ordered by distance, and those within `near_cutoff` are
                among so many first ones.
        """

    @property
    def near_cutoff(self) -> float:
        """Up to which distance features depend on directions, in Angstrom."""
        return self.cutoff

    @property
    def n_radial(self) -> int:
        """Number of functions of the distance in `LocalDerivatives.slopes`."""
        return 0

    @property
    def n_angular(self) -> int:
        """Number of features in `LocalDerivatives.angular`."""
        return self.n_features - self.n_radial

    def local_derivatives(
        self,
        vectors: Float[AnyArray, "atoms n_neighbors 3"],
        pairs: Bool[AnyArray, "atoms n_neighbors"],
        kinds: Int[AnyArray, "atoms n_neighbors"],
        centres: Int[AnyArray, " atoms"],
        near: int,
    ) -> LocalDerivatives:
        """How the features of atoms change with the vectors to their neighbours.

        The first `n_radial` features depend on distances, the others on the nearest neighbours
        only. By default JAX differentiates all of them.

        Args:
            vectors: As for `features`, nearest first.
            pairs: As for `features`.
            kinds: As for `features`.
            centres: As for `features`.
            near: How many of the nearest are within `near_cutoff`, at the most.
        """

        def one(v: Array, p: Array, k: Array, c: Array) -> AnyArray:
            return self.features(v[None], p[None], k[None], c[None], near)[0]

        jacobian: Array = jax.vmap(jax.jacrev(one))(vectors, pairs, kinds, centres)
        slopes: Array = jnp.where(pairs[:, None, :, None], jacobian, 0)
        distances, there = lengths(vectors, pairs)
        units = unit_vectors(vectors, distances, there)
        radial = jnp.einsum("ankx,akx->ank", slopes[:, : self.n_radial], units)
        angular = jnp.moveaxis(slopes[:, self.n_radial :, :near], -1, -2)
        return LocalDerivatives(radial, jnp.moveaxis(units, -1, -2), angular, distances)

    def pullback(
        self,
        by_feature: Float[AnyArray, "atoms n_features"],
        local: LocalDerivatives,
        kinds: Int[AnyArray, "atoms n_neighbors"],
    ) -> tuple[Float[AnyArray, "atoms n_neighbors"], Float[AnyArray, "atoms 3 n_near"]]:
        """The vector-Jacobian product: derivatives of a function of the features.

        Args:
            by_feature: Its derivatives by the features.
            local: What `local_derivatives` has given.
            kinds: The species of the neighbours; any in empty entries.

        Returns:
            Its derivatives by the distances to the neighbours, and what is added to them in the
            derivatives by the vectors to the nearest.
        """
        radial, angular = by_feature[:, : self.n_radial], by_feature[:, self.n_radial :]
        return (
            jnp.einsum("ank,an->ak", local.slopes, radial),
            jnp.einsum("anxk,an->axk", local.angular, angular),
        )

    def pair_derivatives(
        self,
        vectors: Float[AnyArray, "atoms n_neighbors 3"],
        pairs: Bool[AnyArray, "atoms n_neighbors"],
        kinds: Int[AnyArray, "atoms n_neighbors"],
        centres: Int[AnyArray, " atoms"],
        near: int,
    ) -> Float[Array, "atoms n_features 3 n_neighbors"]:
        """The derivatives of all features by all vectors, which potentials are fitted with.

        By default `pullback` of one feature after another. Arguments as for `local_derivatives`.
        """
        local = self.local_derivatives(vectors, pairs, kinds, centres, near)
        n_atoms, width = np.shape(pairs)

        def of_feature(feature: Array) -> Array:
            chosen = jnp.broadcast_to(feature, (n_atoms, self.n_features))
            along, across = self.pullback(chosen, local, kinds)
            rest = [(0, 0)] * 2 + [(0, width - across.shape[-1])]
            return jnp.asarray(local.units) * along[:, None] + jnp.pad(across, rest)

        return jax.vmap(of_feature, out_axes=1)(jnp.eye(self.n_features, dtype=local.units.dtype))

    # Files.

    def header(self) -> Settings:
        """All that features depend on, as JSON can hold it; digests are taken of it too."""
        fields: Settings = dataclasses.asdict(self)  # type: ignore[call-overload]
        fields.pop("device", None)
        return {"descriptor": type(self).__name__, **fields}

    @classmethod
    def _of_header(cls, fields: Settings) -> Self:
        """The descriptor with the fields of a header, with tuples for the lists of JSON."""
        return cls(**{name: with_tuples(value) for name, value in fields.items()})

    @classmethod
    def from_header(cls, header: Mapping[str, object]) -> Self:
        """The descriptor that `header` is of, on JAX's default device.

        Raises:
            ValueError: If no descriptor of that name is known, or it is another than asked for.
        """
        name = str(header.get("descriptor", "ChebyshevDescriptor"))
        kind = find(AbstractDescriptor.subclasses, name, cls)
        return kind._of_header(
            {k: v for k, v in header.items() if k not in ("descriptor", "device")}
        )

    def aenet_parameters(self) -> tuple[str, Float[np.ndarray, " n_parameters"]]:
        """What aenet's files call the descriptor, and its parameters there.

        Raises:
            ValueError: If it cannot be written.
        """
        raise ValueError(
            f"potentials with {type(self).__name__} cannot be written as .nn.ascii files of aenet; "
            "those with ChebyshevDescriptor can. save(...) writes every potential."
        )

    # Of structures.

    @property
    def species_to_idx(self) -> dict[str, int]:
        """The place of each species."""
        return {symbol: index for index, symbol in enumerate(self.species)}

    def featurize(
        self, structure: "Structure | ase.Atoms"
    ) -> Float[np.ndarray, "n_atoms n_features"]:
        """The features of a structure.

        Args:
            structure: A `Structure` or an `ase.Atoms`. Atoms may be outside the cell.

        Raises:
            ValueError: If a species is none of the descriptor's.
        """
        return self.featurize_all([as_structure(structure)])[0]

    def featurize_all(self, structures: "Iterable[Structure | ase.Atoms]") -> list[np.ndarray]:
        """`featurize` for many structures at once."""
        chunk = self._chunk(as_structures(structures))
        return self._split(self.features_of(chunk.pairs), chunk)

    def _chunk(self, structures: Sequence[Structure]) -> Chunk:
        return Chunk(structures, self.species, self.cutoff, self.min_cutoff)

    def _split(self, features: np.ndarray, chunk: Chunk) -> list[np.ndarray]:
        return np.split(features.astype(self.dtype), np.cumsum(chunk.sizes)[:-1])

    def features_of(
        self, table: PairTable, widths: tuple[int, ...] = (0, 0)
    ) -> Float[np.ndarray, "atoms n_features"]:
        """The features of all atoms of a table, in float64.

        Args:
            table: The pairs.
            widths: The least lengths of rows of neighbours, see `widths_of`; with the same ones
                fewer programs are compiled.
        """
        return features_of(self, table, *widths)

    def widths_of(self, table: PairTable) -> tuple[int, int]:
        """How long rows of all neighbours must be, and of those within `near_cutoff`."""
        return widths_of(self, table)

    def file_rows(
        self,
        structures: Sequence[Structure],
        widths: tuple[int, int] = (0, 0),
        *,
        with_features: bool,
        with_derivatives: bool,
    ) -> FileRows:
        """Features of some structures and their derivatives, as files keep them.

        Args:
            structures: The structures.
            widths: The least lengths of rows of neighbours, as given back for others before.
            with_features: Whether features are asked for.
            with_derivatives: Whether their derivatives are.
        """
        chunk = self._chunk(structures)
        features, derivatives = None, None
        if with_features:
            features = self._split(self.features_of(chunk.pairs, widths), chunk)
        if with_derivatives:
            derivatives = [packed_derivatives(own) for own in pair_derivatives(self, chunk)]
        if with_features or with_derivatives:
            widths = widths_of(self, chunk.pairs, *widths)
        return FileRows(features, derivatives, widths)

    def unpack_derivatives(
        self, values: np.ndarray, indices: np.ndarray, n_atoms: int
    ) -> dict[str, np.ndarray]:
        """The derivatives of a structure, from what `file_rows` has given of it."""
        return unpacked_derivatives(self, values, indices, n_atoms)

    # In training.

    def tables(self, chunk: Chunk, widths: Sequence[int], dtype: str, with_stress: bool) -> Tables:
        """Derivatives of the features of all atoms of a chunk, from which forces follow.

        Args:
            chunk: The structures, and their derivatives if a file has them.
            widths: How long rows of neighbours are, see `widths_of`.
            dtype: Of the numbers.
            with_stress: Whether stress is asked for too.
        """
        return tables_of(self, chunk, widths, dtype, with_stress)

    def table_bytes(self, widths: Sequence[int], itemsize: int) -> int:
        """How many bytes the tables of an atom take."""
        width, near = widths
        numbers = (self.n_radial + 4) * width + 3 * self.n_angular * near
        return itemsize * numbers + 5 * (width + near)

    def forces(
        self,
        by_feature: Float[Array, "atoms n_features"],
        tables: Tables,
        begins: Sequence[Int[AnyArray, " atoms"]],
        with_stress: bool,
    ) -> tuple[Float[Array, "atoms 3"], Float[Array, "atoms 3 3"] | None]:
        """The forces on the atoms of a batch and their shares of the virial; None without stress.

        Args:
            by_feature: Derivatives of the energy by the features.
            tables: Those of the atoms.
            begins: For each species, where it begins in each atom's structure.
            with_stress: Whether the virial is asked for.
        """
        return forces(self, by_feature, tables, begins, with_stress)
