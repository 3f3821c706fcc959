"""Any function of the graph of neighbours as a model of energies."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Array, Bool, Float, Int, Key, PyTree
from typing_extensions import override

from ritz.mlip.arrays import AnyArray
from ritz.mlip.descriptors.chunk import Chunk, columns_of, indices
from ritz.mlip.descriptors.pairs import partners_in_batch, with_partners
from ritz.mlip.models.abstract_model import (
    AbstractModel,
    Batch,
    GroupCapacity,
    Normalisation,
    Prediction,
    Widths,
)
from ritz.potentials import AtomicGraph


class EnergyModule(Protocol):
    """Protocol of the modules that a `GraphPotential` takes, such as modules of flax.

    It must be hashable, and equal to others that compute the same. One with weights for each
    element may have a method `of_species(species)`, which returns a module for those.
    """

    def init(self, key: Key[Array, ""], structure: AtomicGraph, /) -> PyTree:
        """The first parameters, a pytree of arrays."""
        ...

    def apply(self, params: PyTree, structure: AtomicGraph, /) -> Any:
        """An energy for each place of the structure, of shape (n_atoms,) and of the order of 1.

        In training `structure` holds many structures at once, whose neighbours are their own.
        Only `numbers`, `mask`, `neighbors`, `vectors` and `pairs` mean something; positions and
        cell are NaN. Neighbours may be farther than the cutoff, so contributions must go to zero
        there; forces are derivatives by `vectors`, which must be finite also in empty entries, see
        `AtomicGraph.squared_distances`.
        """
        ...


class Graph(NamedTuple):
    """Neighbours of atoms; the first axis is the atom."""

    vectors: Float[AnyArray, "atoms n_neighbors 3"]
    pairs: Bool[AnyArray, "atoms n_neighbors"]
    """Which entries hold a neighbour."""
    kinds: Int[AnyArray, "atoms n_neighbors"]
    """The species of the neighbours; its own where there is none."""
    partners: Int[AnyArray, "atoms n_neighbors"]
    """Where the same pair is seen from the other side, see `Tables.partners`."""


@dataclasses.dataclass(frozen=True)
class GraphModel(AbstractModel):
    """A module's energies of atoms; forces are its derivatives by the vectors to neighbours.

    Inputs are graphs, and there are no tables.
    """

    module: EnergyModule
    species: tuple[str, ...]
    cutoff: float

    def init(self, key: Key[Array, ""]) -> PyTree:
        """First parameters of the module."""
        graph, atoms = self.example()
        return self.module.init(key, self._structure(graph, jnp.ones(2, bool), atoms))

    @override
    def example(self) -> tuple[Graph, tuple[int, ...]]:
        return _tiny(), (2,)

    def widths(self, chunk: Chunk, with_forces: bool) -> Widths:
        """The length of rows of neighbours."""
        return (chunk.pairs.width(),)

    def row_bytes(self, widths: Widths, with_forces: bool, itemsize: int) -> int:
        """Bytes of vectors, partners and species of the neighbours, and of the forces."""
        return widths[0] * (3 * itemsize + 6) + 3 * itemsize * with_forces

    def inputs(
        self, chunk: Chunk, normalisation: Normalisation | None, widths: Widths, dtype: str
    ) -> Graph:
        """The graph of the chunk."""
        (width,) = widths
        rows = chunk.pairs.rows(0, chunk.n_atoms, width)
        kinds, partners = indices(chunk, columns_of(chunk), width)
        order = chunk.order
        return Graph(rows.vectors[order].astype(dtype), rows.pairs[order], kinds, partners)

    def tables(self, chunk: Chunk, widths: Widths, dtype: str, with_stress: bool) -> tuple[()]:
        """An empty tuple: forces need nothing besides the inputs."""
        return ()

    def _structure(self, graph: Any, valid: Any, atoms: Sequence[int]) -> AtomicGraph:
        """A batch as one structure; `atoms` says how many places each species has."""
        known = [atomic_numbers[symbol] for symbol in self.species[: len(atoms)]]
        numbers = jnp.where(valid, jnp.asarray(np.repeat(known, atoms)), 0)
        nowhere = jnp.full((), jnp.nan, graph.vectors.dtype)
        return AtomicGraph(
            positions=jnp.broadcast_to(nowhere, (len(valid), 3)),
            cell=jnp.broadcast_to(nowhere, (3, 3)),
            pbc=jnp.zeros(3, bool),
            numbers=numbers,
            mask=valid,
            neighbors=graph.partners // graph.partners.shape[1],
            vectors=graph.vectors,
            pairs=graph.pairs & valid[:, None],
        )

    def predict(
        self, params: PyTree, normalisation: Normalisation, batch: Batch, capacity: GroupCapacity
    ) -> Prediction:
        """Energies of a batch, and forces if they are asked for."""
        partners = partners_in_batch(batch.inputs.kinds, batch.inputs.partners, batch.begins)
        graph = batch.inputs._replace(partners=partners)
        structure = self._structure(graph, batch.valid, capacity.atoms)

        def energies(vectors: Array) -> tuple[Array, Array]:
            each = self.module.apply(params, structure._replace(vectors=vectors))
            found: Any = jnp.where(batch.valid, each, 0)
            found = found / normalisation.e_scaling
            return jnp.sum(found), found

        if batch.tables is None:
            _, each = energies(structure.vectors)
            return Prediction(jax.ops.segment_sum(each, batch.slot, len(batch.ids)))
        slopes, each = jax.grad(energies, has_aux=True)(structure.vectors)
        total = jax.ops.segment_sum(each, batch.slot, len(batch.ids))
        slopes: Any = jnp.where(structure.pairs[..., None], slopes, 0)
        forces = [jnp.sum(with_partners(slopes[..., x], partners, -1), axis=1) for x in range(3)]
        virial = None
        if capacity.stress:
            virial = jnp.einsum("akx,aky->axy", slopes, structure.vectors)
            virial = (virial + jnp.swapaxes(virial, -1, -2)) / 2
        return Prediction(total, jnp.stack(forces, axis=-1), virial)

    def atomic_energies(
        self,
        params: PyTree,
        normalisation: Normalisation,
        structure: AtomicGraph,
        kinds: Int[Array, " n_atoms"],
    ) -> Float[Array, " n_atoms"]:
        """Outputs of the module, in eV."""
        return self.module.apply(params, structure) / normalisation.e_scaling


def _tiny() -> Graph:
    """Two atoms, one Angstrom apart."""
    vectors = jnp.array([[[1.0, 0, 0]], [[-1.0, 0, 0]]])
    ones = jnp.ones((2, 1), int)
    return Graph(vectors, ones > 0, 0 * ones, jnp.array([[1], [0]]))
