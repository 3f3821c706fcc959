"""Neighbour pairs on the host, by vesin's cell lists or, in sparse structures, by a KD-tree."""

import math

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from ritz.extras import needs
from ritz.potentials.sparse_pairs import is_sparse, sparse_pairs

_WIDTH_STEP = 8


def padded_width(count: int, step: int = _WIDTH_STEP) -> int:
    """Length of rows for `count` neighbours: a multiple of `step`, so that few programs compile."""
    return -(-int(count) // step) * step


def row_places(
    counts: Int[np.ndarray, " atoms"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """The atom of each pair, and the pair's place in its row, for pairs that are ordered by atom.

    Args:
        counts: Number of neighbours of each atom.
    """
    first = np.repeat(np.arange(len(counts)), counts)
    return first, np.arange(len(first)) - (np.cumsum(counts) - counts)[first]


def _search(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, reach: float, wanted: str
) -> list[np.ndarray]:
    """Pairs within a finite `reach`, in any order.

    Args:
        positions: Of the atoms.
        cell: Lattice vectors as rows.
        pbc: Along which of them the structure is periodic.
        reach: Largest distance.
        wanted: "i" for the first atoms alone, "ijS" for second ones and shifts too.
    """
    with needs("A neighbour list", "relax"):
        from vesin import NeighborList

    positions, cell = np.asarray(positions, float), np.asarray(cell, float)
    periodic = np.asarray(pbc, bool)
    if is_sparse(positions, cell, periodic, reach):
        return list(sparse_pairs(positions, cell, periodic, reach)[: len(wanted)])
    found = NeighborList(cutoff=reach, full_list=True).compute(
        points=positions, box=cell, periodic=periodic, quantities=wanted
    )
    return [np.asarray(x).astype(int) for x in found]


def most_neighbors(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float) -> int:
    """Largest number of neighbours of an atom of a structure."""
    if math.isinf(reach):
        return len(positions) - 1
    (first,) = _search(positions, cell, pbc, reach, "i")
    return int(np.bincount(first, minlength=1).max())


def pairs_on_host(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a structure within `reach`: first atoms, second atoms, shifts; in order."""
    if math.isinf(reach):
        first, second = np.nonzero(~np.eye(len(positions), dtype=bool))
        return first, second, np.zeros((len(first), 3), int)
    first, second, shifts = _search(positions, cell, pbc, reach, "ijS")
    order = np.lexsort((*shifts.T[::-1], second, first))
    return first[order], second[order], shifts[order]
