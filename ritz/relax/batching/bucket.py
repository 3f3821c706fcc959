"""Turns ASE's structures into padded arrays, and back."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from ase import Atoms as AseAtoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import complete_cell
from numpy.typing import ArrayLike

from ritz.potentials.pairs import most_neighbors
from ritz.relax.algorithms.stage import FusedStage
from ritz.relax.batching.batch import Atoms, Geometry, Given, Outcome
from ritz.relax.batching.constraints import movable

SPREAD = 1.5
"""Largest ratio of the numbers of atoms of two structures in a bucket."""

_COUNTED = 64
"""Number of structures per bucket whose neighbours are counted; lists can grow later."""


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Structures of similar size, as arrays of one shape."""

    given: Given
    places: tuple[int, ...]
    """Index of each structure among all that were given."""
    width: int
    """Largest number of neighbours of an atom at first."""
    images: tuple[int, int, int]
    """Number of images of an atom to search along each lattice vector."""

    @property
    def n_atoms(self) -> int:
        """Padded number of atoms: that of the largest structure."""
        return self.given.positions.shape[1]

    def given_places(self, members: ArrayLike) -> np.ndarray:
        """Indices among all that were given of structures of the bucket; -1 for empty slots."""
        return np.append(np.array(self.places), -1)[np.asarray(members)]


def group(sizes: Sequence[int]) -> list[list[int]]:
    """Groups of indices of structures of similar size, in the order given."""
    by_size = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    groups: list[list[int]] = []
    for place in by_size:
        if not groups or sizes[groups[-1][0]] > SPREAD * sizes[place]:
            groups.append([])
        groups[-1].append(place)
    return [sorted(places) for places in groups]


def pack(structures: Sequence[AseAtoms], cutoff: float | None, skin: float) -> list[Bucket]:
    """The buckets that hold all structures."""
    return [
        _bucket([structures[place] for place in places], tuple(places), cutoff, skin)
        for places in group([len(atoms) for atoms in structures])
    ]


def _array(array: Any) -> Any:
    """A NumPy array, typed as the JAX array that it becomes later."""
    return array


def _bucket(
    members: list[AseAtoms], places: tuple[int, ...], cutoff: float | None, skin: float
) -> Bucket:
    size = max(map(len, members))

    def padded(get: Callable[[AseAtoms], np.ndarray], fill: float = 0) -> Any:
        rows = [np.asarray(get(atoms)) for atoms in members]
        shape = (len(members), size, *rows[0].shape[1:])
        array = np.full(shape, fill, rows[0].dtype)
        for row, values in zip(array, rows, strict=True):
            row[: len(values)] = values
        return array

    given = Given(
        Atoms(
            padded(lambda a: a.numbers.astype(np.int32)),
            padded(lambda a: a.get_masses(), 1.0),
            padded(lambda a: np.ones(len(a), bool)),
            padded(movable),
            _array(np.stack([a.pbc for a in members])),
        ),
        padded(lambda a: a.positions),
        padded(lambda a: np.where(movable(a), a.get_velocities(), 0)),
        _array(np.stack([complete_cell(a.cell) for a in members])),
        _array(np.array(places, np.int32)),
    )
    width, images = 0, np.ones(3, int)
    if cutoff is not None:
        counted = set(np.linspace(0, len(members) - 1, _COUNTED).round().astype(int))
        for row, atoms in enumerate(members):
            cell, reach = complete_cell(atoms.cell), cutoff + skin
            images = np.maximum(images, images_for(cell, atoms.pbc, reach))
            if row in counted:
                width = max(width, most_neighbors(atoms.positions, cell, atoms.pbc, reach))
    return Bucket(given, places, width, as_images(images))


def as_images(images: Iterable[int]) -> tuple[int, int, int]:
    """Three counts as a tuple of numbers, which can be a static argument."""
    a, b, c = (int(m) for m in images)
    return a, b, c


def images_for(cell: np.ndarray, pbc: np.ndarray, reach: float) -> np.ndarray:
    """`neighbors.images_needed` for one cell, on the host."""
    if math.isinf(reach):
        return np.ones(3, int)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return np.where(pbc, np.floor(2 * reach / heights) + 1, 1).astype(int)


def unpack(
    given: Sequence[AseAtoms],
    outcomes: Sequence[Outcome],
    places: Sequence[np.ndarray],
    stages: FusedStage,
) -> list[AseAtoms | None]:
    """Present structures as `ase.Atoms`, in the order given; None where there is no result.

    Args:
        given: The structures as they were given.
        outcomes: Results of the structures.
        places: For each row of the outcomes, its index among the given structures; -1 for none.
        stages: The stages of the run.
    """
    found: list[AseAtoms | None] = [None] * len(given)
    moves_cell = any(stage.moves_cell for stage in stages.stages)
    integrates = any(stage.integrates for stage in stages.stages)
    for outcome, members in zip(outcomes, places, strict=True):
        for row, place in enumerate(members):
            if place < 0:
                continue
            atoms, n = given[place].copy(), len(given[place])
            _place(atoms, outcome.at.geometry, row, moves_cell)
            if integrates:
                atoms.set_velocities(outcome.at.velocities[row, :n])
            if np.isfinite(outcome.energy[row]):
                results: dict[str, float | jax.Array | np.ndarray] = {
                    "energy": float(outcome.energy[row]),
                    "forces": outcome.forces[row, :n],
                }
                if np.any(outcome.virial[row]) and all(atoms.pbc):
                    stress = outcome.virial[row] / atoms.get_volume()
                    results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
                atoms.calc = SinglePointCalculator(atoms, **results)
            found[place] = atoms
    return found


def _place(atoms: AseAtoms, geometry: Geometry, row: int, moves_cell: bool) -> None:
    if moves_cell:
        atoms.set_cell(geometry.cell[row])
    atoms.set_positions(geometry.positions[row, : len(atoms)], apply_constraint=False)


def fingerprint(buckets: Sequence[Bucket]) -> str:
    """Hash of all structures, twelve hexadecimal digits."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves([bucket.given for bucket in buckets]):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()[:12]
