"""Features of whole structures, by which they are selected."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from ritz.mlip import AbstractDescriptor, Structure
from ritz.mlip.data.labels import as_structures


def structure_features(
    structures: Sequence[Atoms | Structure], descriptor: AbstractDescriptor
) -> Float[np.ndarray, "structures features"]:
    """Mean, smallest and largest value over the atoms of each feature, by species.

    The mean tells structures as wholes apart, the extremes those with a single odd environment.
    Species that a structure lacks have zeros.

    Args:
        structures: The structures.
        descriptor: Computes the features of atoms.

    Returns:
        A row for each structure, with 3 n_features numbers for each of the descriptor's species.

    Raises:
        ValueError: If a species is none of the descriptor's.
    """
    many = as_structures(list(structures)) if len(structures) else []
    if not many:
        return np.zeros((0, 3 * len(descriptor.species) * descriptor.n_features))
    rows = []
    for structure, features in zip(many, descriptor.featurize_all(many), strict=True):
        symbols, row = np.asarray(structure.species), []
        for symbol in descriptor.species:
            own = np.asarray(features, float)[symbols == symbol]
            if len(own):
                row += [own.mean(axis=0), own.min(axis=0), own.max(axis=0)]
            else:
                row += [np.zeros(features.shape[1])] * 3
        rows.append(np.concatenate(row))
    return np.array(rows)
