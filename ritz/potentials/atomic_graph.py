"""What a potential sees of one structure: positions, cell and the graph of neighbours."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class AtomicGraph(NamedTuple):
    """One structure, padded with empty places to the size of its bucket.

    Lengths are in Angstrom where energies are in eV; any other consistent units will do.
    """

    positions: Float[Array, "n_atoms 3"]
    cell: Float[Array, "3 3"]
    """Lattice vectors as rows."""
    pbc: Bool[Array, " 3"]
    numbers: Int[Array, " n_atoms"]
    """Atomic numbers; 0 in empty places."""
    mask: Bool[Array, " n_atoms"]
    """Which places hold an atom."""
    neighbors: Int[Array, "n_atoms n_neighbors"]
    """The neighbours of each atom; every pair appears twice, once from each side."""
    vectors: Float[Array, "n_atoms n_neighbors 3"]
    """Vectors from each atom to the listed image of the neighbour."""
    pairs: Bool[Array, "n_atoms n_neighbors"]
    """Which entries hold a neighbour, which may be slightly beyond the cutoff."""

    def squared_distances(self) -> Float[Array, "n_atoms n_neighbors"]:
        """Squared lengths of `vectors`; 1 where there is no neighbour, so that roots are safe."""
        return jnp.where(self.pairs, jnp.sum(self.vectors**2, axis=-1), 1.0)
