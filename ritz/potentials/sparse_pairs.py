"""Neighbour pairs by a KD-tree, for structures that are too sparse for cell lists."""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int

_FEW_CELLS = 10_000
"""Number of cells up to which cell lists are quick, however few atoms are in them."""

_MANY_CELLS = 100_000
"""Number of cells above which vesin joins them, and divides by zero where some direction has few
of them."""

_MOST_SHIFT = 2.0**31
"""Atoms are wrapped by at most so many lattice vectors, which are integers later."""

_ROUNDING = 1e-9
"""Relative margin of the search; distances are compared afterwards."""


def is_sparse(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    reach: float,
) -> bool:
    """Whether a structure spans too many cells of the width `reach` for its number of atoms.

    Args:
        positions: In Angstrom.
        cell: Lattice vectors as rows, of which those of periodic directions count.
        pbc: Along which of them the structure is periodic.
        reach: Largest distance of pairs, in Angstrom.
    """
    vectors = cell[pbc]
    if not len(positions) or not np.all(np.isfinite(vectors)):
        return False
    with np.errstate(all="ignore"):  # atoms may be anywhere
        heights = 1 / np.linalg.norm(np.linalg.pinv(vectors), axis=0)
        spans = np.ptp(positions @ _across(vectors), axis=0)
        n_cells = np.prod(np.maximum(np.concatenate([heights, spans]) / reach, 1))
    return bool(n_cells > np.clip(len(positions), _FEW_CELLS, _MANY_CELLS))


def _across(vectors: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "3 k"]:
    """Orthonormal directions across some lattice vectors, as columns."""
    if not len(vectors):
        return np.eye(3)
    return np.linalg.svd(vectors)[2][len(vectors) :].T


def sparse_pairs(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    reach: float,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Int[np.ndarray, "pairs 3"]]:
    """All pairs closer than `reach`, each in both directions, in any order.

    Atoms are wrapped into the cell along periodic directions; a KD-tree of all images that may be
    within reach gives candidates, whose distances are then compared.

    Args:
        positions: In Angstrom, finite.
        cell: Lattice vectors as rows, of which those of periodic directions count.
        pbc: Along which of them the structure is periodic.
        reach: Largest distance of pairs, in Angstrom.

    Returns:
        First atoms, second atoms, and the lattice vectors to add to the position of the second.
    """
    from scipy.spatial import KDTree  # slow to import, and rarely needed

    vectors = cell[pbc]
    inverse = np.linalg.pinv(vectors)
    wraps = np.clip(np.floor(positions @ inverse), -_MOST_SHIFT, _MOST_SHIFT)
    inside = positions - wraps @ vectors
    most = np.floor(reach * np.linalg.norm(inverse, axis=0)).astype(int) + 1
    shifts = np.array(list(itertools.product(*(range(-m, m + 1) for m in most))), float)
    margin = _ROUNDING * (reach + np.max(np.abs(wraps @ vectors), initial=0.0))
    images = (inside + (shifts @ vectors)[:, None]).reshape(-1, 3)
    owners = np.tile(np.arange(len(positions)), len(shifts))
    by_image = np.repeat(shifts, len(positions), axis=0)
    low, high = inside.min(axis=0) - reach - margin, inside.max(axis=0) + reach + margin
    near = np.all((images >= low) & (images <= high), axis=-1)
    images, owners, by_image = images[near], owners[near], by_image[near]
    found = KDTree(inside).sparse_distance_matrix(
        KDTree(images), reach + margin, output_type="ndarray"
    )
    first, image = found["i"], found["j"]
    second = owners[image]
    moved = by_image[image] - wraps[second] + wraps[first]
    apart = positions[second] - positions[first] + moved @ vectors
    close = np.sum(apart**2, axis=-1) < reach**2
    close &= (first != second) | np.any(moved != 0, axis=-1)
    all_shifts = np.zeros((np.count_nonzero(close), 3), int)
    all_shifts[:, pbc] = moved[close]
    return first[close], second[close], all_shifts
