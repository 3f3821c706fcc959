"""How large neighbour lists are, and where they are made."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from ritz.potentials.pairs import most_neighbors
from ritz.relax.bucket import as_images, images_for

HOST_CANDIDATES = {"cpu": 2**23}
"""From so many candidate pairs and images of a structure on, vesin's cell lists on the host are
faster than looking at all of them on the device; by the device's kind."""

_FAR_HOST_CANDIDATES = 2**26
"""The same for devices that have a memory of their own."""

_WIDTH_STEP = 8
"""Widths are multiples of this, so that few programs are compiled."""

_GROWTH = 1.25
"""How much room lists that did not fit get beyond what they need."""

Sizes = tuple[int, tuple[int, int, int]]
"""How many neighbours an atom may have, and how many images are searched."""


def rounded(width: int) -> int:
    """The next width that is used."""
    return -(-width // _WIDTH_STEP) * _WIDTH_STEP


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


def grown(geometry: Any, atoms: Any, rows: Iterable[int], reach: float, sizes: Sizes) -> Sizes:
    """Sizes with which the lists of some slots fit.

    Args:
        geometry: That of all slots, on the host.
        atoms: Those of all slots, on the host.
        rows: The slots whose lists did not fit.
        reach: How far lists reach.
        sizes: The present ones.
    """
    width, images = sizes[0], np.array(sizes[1])
    for row in rows:
        there = atoms.mask[row]
        positions, cell, pbc = geometry.positions[row][there], geometry.cell[row], atoms.pbc[row]
        width = max(width, most_neighbors(positions, cell, pbc, reach))
        images = np.maximum(images, images_for(cell, pbc, reach))
    if width > sizes[0]:
        return rounded(math.ceil(_GROWTH * width)), as_images(images)
    if np.any(images > np.array(sizes[1])):
        return width, as_images(images)
    return width + _WIDTH_STEP, as_images(images + 1)  # host and device have rounded differently
