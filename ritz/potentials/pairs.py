"""Neighbour pairs by vesin's cell lists, on the host."""

import math
from typing import Any

import numpy as np
from jaxtyping import Int

from ritz.extras import needs

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


def _vesin(positions: Any, cell: Any, pbc: Any, reach: float, wanted: str) -> list[np.ndarray]:
    with needs("A neighbour list", "relax"):
        from vesin import NeighborList

    found = NeighborList(cutoff=reach, full_list=True).compute(
        points=np.asarray(positions, float),
        box=np.asarray(cell, float),
        periodic=np.asarray(pbc, bool),
        quantities=wanted,
    )
    return [np.asarray(x).astype(int) for x in found]


def most_neighbors(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float) -> int:
    """Largest number of neighbours of an atom of a structure."""
    if math.isinf(reach):
        return len(positions) - 1
    (first,) = _vesin(positions, cell, pbc, reach, "i")
    return int(np.bincount(first, minlength=1).max())


def pairs_on_host(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a structure within `reach`: first atoms, second atoms, shifts; in order."""
    if math.isinf(reach):
        first, second = np.nonzero(~np.eye(len(positions), dtype=bool))
        return first, second, np.zeros((len(first), 3), int)
    first, second, shifts = _vesin(positions, cell, pbc, reach, "ijS")
    order = np.lexsort((*shifts.T[::-1], second, first))
    return first[order], second[order], shifts[order]
