"""Energies, forces and stress as linear functions of the weights of features."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.descriptors.featurizing import pair_derivatives_of


class DesignRows(NamedTuple):
    """What structures have of each feature: rows that give their energies, forces and virials.

    Columns are features by species of the atom that has them, those of the first species first.
    """

    energies: Float[np.ndarray, "structures n_columns"]
    """Sums of the features over the atoms."""
    forces: Float[np.ndarray, "atoms 3 n_columns"] | None
    """Less their derivatives by the positions, atoms in the structures' order, in 1/Angstrom; None
    where neither forces nor virials are asked for."""
    virials: Float[np.ndarray, "structures 3 3 n_columns"] | None
    """Their derivatives by the strain; None where they are not asked for."""


def design_rows(
    descriptor: AbstractDescriptor,
    chunk: Chunk,
    widths: Sequence[int] = (0, 0),
    *,
    with_forces: bool,
    with_virials: bool,
) -> DesignRows:
    """The rows of the structures of a chunk.

    Args:
        descriptor: Computes the features and their derivatives.
        chunk: The structures.
        widths: The least lengths of rows of neighbours, so that fewer programs are compiled.
        with_forces: Whether forces are asked for.
        with_virials: Whether virials are.
    """
    known = chunk.features
    features = descriptor.features_of(chunk.pairs, tuple(widths)) if known is None else known
    n_structures, n_species, n_features = len(chunk.sizes), len(chunk.species), features.shape[1]
    energies = np.zeros((n_structures, n_species, n_features))
    np.add.at(energies, (chunk.structure, chunk.kinds), features)
    energies = energies.reshape(n_structures, -1)
    if not (with_forces or with_virials):
        return DesignRows(energies, None, None)
    forces = np.zeros((chunk.n_atoms, n_species, n_features, 3))
    virials = np.zeros((n_structures if with_virials else 0, 3, n_species, n_features, 3))
    for block in _blocks(descriptor, chunk, widths):
        atoms, structures = block.atoms, block.structures
        for kind in range(n_species):
            chosen = block.kinds == kind
            slopes = block.slopes[chosen].reshape(np.count_nonzero(chosen), 3 * n_features)
            shape = -1, n_features, 3
            incidence = block.incidence[:, chosen]
            forces[atoms, kind] += (incidence @ slopes).reshape(shape)
            for axis in range(3 if with_virials else 0):
                moved = block.by_structure[:, chosen].multiply(block.vectors[chosen, axis])
                virials[structures, axis, kind] += (moved.tocsr() @ slopes).reshape(shape)
    forces = np.moveaxis(forces, -1, 1).reshape(chunk.n_atoms, 3, -1)
    if not with_virials:
        return DesignRows(energies, forces, None)
    virials = np.moveaxis(virials, -1, 1).reshape(n_structures, 3, 3, -1)
    return DesignRows(energies, forces, (virials + virials.transpose(0, 2, 1, 3)) / 2)


class _Block(NamedTuple):
    """The pairs of some atoms, and to which rows they add."""

    atoms: slice
    """The atoms of all structures that the pairs are of."""
    structures: slice
    slopes: Float[np.ndarray, "pairs n_features 3"]
    """How the features of the first atom change with the vector to the second."""
    vectors: Float[np.ndarray, "pairs 3"]
    kinds: Int[np.ndarray, " pairs"]
    """The species of the first atom."""
    incidence: sparse.csr_array
    """1 for the first atom of each pair, -1 for the second, by atom and pair."""
    by_structure: sparse.csr_array
    """1 for the structure of each pair, by structure and pair."""


def _blocks(
    descriptor: AbstractDescriptor, chunk: Chunk, widths: Sequence[int]
) -> Iterator[_Block]:
    table, first_atoms = chunk.pairs, np.cumsum([0, *chunk.sizes])
    first, places, structure = table.first, table.places, chunk.structure
    ends = np.cumsum([0, *table.counts])
    for block, derivatives in pair_derivatives_of(descriptor, table, *widths):
        chosen = slice(ends[block.start], ends[block.stop])
        near_end, far_end = first[chosen], table.second[chosen]
        slopes = np.asarray(derivatives)[near_end - block.start, :, :, places[chosen]]
        begin, end = structure[block.start], structure[block.stop - 1] + 1
        atoms = slice(first_atoms[begin], first_atoms[end])
        n_pairs, signs = len(near_end), np.ones(len(near_end))
        columns = np.arange(n_pairs)
        incidence = sparse.csr_array(
            (
                np.concatenate([signs, -signs]),
                (np.concatenate([near_end, far_end]) - atoms.start, np.tile(columns, 2)),
            ),
            shape=(atoms.stop - atoms.start, n_pairs),
        )
        by_structure = sparse.csr_array(
            (signs, (structure[near_end] - begin, columns)), shape=(end - begin, n_pairs)
        )
        yield _Block(
            atoms,
            slice(begin, end),
            slopes,
            table.vectors[chosen],
            chunk.kinds[near_end],
            incidence=incidence,
            by_structure=by_structure,
        )
