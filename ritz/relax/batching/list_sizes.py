"""Sizes of neighbour lists, and the choice of device or host for making them."""

import math
from collections.abc import Iterable

import jax
import numpy as np

from ritz.potentials.pairs import most_neighbors, padded_width
from ritz.relax.batching.batch import Atoms, Geometry
from ritz.relax.batching.bucket import as_images, images_for
from ritz.relax.batching.neighbors import MOST_CELLS, ListSettings, countable

HOST_CANDIDATES = {"cpu": 2**23}
"""Number of candidate pairs and images of a structure above which vesin's cell lists on the host
are faster than a search of all pairs on the device, by kind of device."""

_FAR_HOST_CANDIDATES = 2**26
"""As `HOST_CANDIDATES`, on devices with their own memory."""

_GROWTH = 1.25
"""Factor by which enlarged lists exceed the size that is needed."""

_FACTOR = 8
_LEAST = 1000
_DENSEST = 0.2

Sizes = tuple[int, tuple[int, int, int]]
"""Largest number of neighbours of an atom, and number of images searched."""


def made_on_host(wanted: str, cutoff: float | None, n_atoms: int, sizes: Sizes) -> bool:
    """Whether vesin makes the lists.

    Args:
        wanted: "device", "host" or "auto".
        cutoff: The potential's.
        n_atoms: The size of the structures.
        sizes: Those of the lists.
    """
    if wanted != "auto":
        return wanted == "host"
    if cutoff is None or math.isinf(cutoff):
        return False
    limit = HOST_CANDIDATES.get(jax.default_backend(), _FAR_HOST_CANDIDATES)
    return n_atoms**2 * math.prod(sizes[1]) >= limit


def list_settings(
    made_by: str,
    cutoff: float | None,
    skin: float,
    n_atoms: int,
    sizes: Sizes,
    cell_moves: bool,
) -> ListSettings:
    """Settings of a bucket's neighbour lists.

    Args:
        made_by: "device", "host" or "auto".
        cutoff: The potential's.
        skin: How far the lists reach beyond it, in Angstrom.
        n_atoms: The size of the structures.
        sizes: Those of the lists.
        cell_moves: Whether a stage moves cells.
    """
    width, images = sizes
    on_host = made_on_host(made_by, cutoff, n_atoms, sizes)
    one_by_one = on_host or jax.default_backend() == "cpu"
    return ListSettings(
        cutoff=cutoff,
        skin=skin,
        width=width,
        images=images,
        on_host=on_host,
        chunk=1 if one_by_one else 16,
        cell_moves=cell_moves,
    )


def cells_apart(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> float:
    """Largest distance of two atoms along each periodic lattice vector, in cells."""
    fractional = (positions @ np.linalg.inv(cell))[:, np.asarray(pbc, bool)]
    return float(np.max(np.ptp(fractional, axis=0), initial=0.0))


def most_allowed(first: int, reach: float) -> int:
    """Number of neighbours of an atom above which its structure counts as collapsed.

    A thousand, eight times as many as at first, or what a solid of 0.2 atoms per cubic Angstrom
    has, denser than diamond: the largest of these, so that a gas may still condense.

    Args:
        first: Largest number of neighbours of an atom of the bucket at first.
        reach: Reach of the lists, in Angstrom.
    """
    dense = 0 if math.isinf(reach) else math.ceil(_DENSEST * 4 / 3 * math.pi * reach**3)
    return max(_LEAST, _FACTOR * first, dense)


def collapse(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, most: int
) -> str | None:
    """Why no neighbour list can hold a structure, or None if one can.

    Args:
        positions: Those of its atoms.
        cell: Three lattice vectors.
        pbc: Along which of them it is periodic.
        reach: In Angstrom.
        most: See `most_allowed`.
    """
    if any(pbc):
        if not countable(len(positions), cell, pbc, reach):
            return f"its cell has collapsed to {abs(np.linalg.det(cell)):.3g} cubic Angstrom"
        apart = cells_apart(positions, cell, pbc)
        if apart > MOST_CELLS:
            return (
                f"its atoms have drifted {apart:.3g} cells apart, more than {MOST_CELLS:,}; go on "
                "from its positions after atoms.wrap()"
            )
    if math.isinf(reach):
        return None
    width = most_neighbors(positions, cell, pbc, reach)
    if width > most:
        return f"it has collapsed: an atom has {width} neighbours within {reach:g} Angstrom"
    return None


def _structure(
    geometry: Geometry, atoms: Atoms, row: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions without padding, cell and periodic directions of the structure in a slot."""
    there = np.asarray(atoms.mask[row])
    positions = np.asarray(geometry.positions[row])[there]
    return positions, np.asarray(geometry.cell[row]), np.asarray(atoms.pbc[row])


def collapsed(
    geometry: Geometry, atoms: Atoms, rows: Iterable[int], reach: float, most: int
) -> list[int]:
    """The slots, of some, whose structures have collapsed; see `grown` and `collapse`."""
    found = []
    for row in map(int, rows):
        positions, cell, pbc = _structure(geometry, atoms, row)
        if collapse(positions, cell, pbc, reach, most) is not None:
            found.append(row)
    return found


def grown(
    geometry: Geometry, atoms: Atoms, rows: Iterable[int], reach: float, sizes: Sizes
) -> Sizes:
    """Sizes large enough for the lists of some slots.

    Args:
        geometry: That of all slots, on the host.
        atoms: Those of all slots, on the host.
        rows: The slots whose lists did not fit.
        reach: Reach of the lists, in Angstrom.
        sizes: The present ones.
    """
    width, images = sizes[0], np.array(sizes[1])
    for row in rows:
        positions, cell, pbc = _structure(geometry, atoms, row)
        width = max(width, most_neighbors(positions, cell, pbc, reach))
        images = np.maximum(images, images_for(cell, pbc, reach))
    if width > sizes[0]:
        return padded_width(math.ceil(_GROWTH * width)), as_images(images)
    if np.any(images > np.array(sizes[1])):
        return width, as_images(images)
    # Host and device have rounded differently.
    return padded_width(width + 1), as_images(images + 1)
