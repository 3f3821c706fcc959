"""Refuses structures that cannot be treated."""

import math
from collections.abc import Iterable
from os import PathLike

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

from ritz.potentials.occupancy import check_occupancy
from ritz.potentials.potential import AbstractPotential
from ritz.relax.batching.constraints import movable
from ritz.relax.batching.list_sizes import cells_apart
from ritz.relax.batching.neighbors import MOST_CELLS, MOST_NEIGHBORS, expected_neighbors

SKIN = 1.0
"""Default skin of neighbour lists: how far they reach beyond the cutoff, in Angstrom."""


def checked(structures: object, model: AbstractPotential, skin: float = SKIN) -> list[Atoms]:
    """The structures, as a list.

    Args:
        structures: One `ase.Atoms` or many.
        model: The potential.
        skin: How far neighbour lists reach beyond its cutoff, in Angstrom.

    Raises:
        TypeError: If it is neither, or an entry is not an `ase.Atoms`.
        ValueError: If the list is empty, or a structure cannot be treated; its index is named.
    """
    if isinstance(structures, str | PathLike):
        raise TypeError(
            f"atoms must be an ase.Atoms or a list of them, but {structures!r} was given; read a "
            f"file with ase.io.read({str(structures)!r}, ':')."
        )
    if not isinstance(structures, Iterable):
        raise TypeError(
            f"atoms must be an ase.Atoms or a list of them, but {structures!r} was given."
        )
    listed = [structures] if isinstance(structures, Atoms) else list(structures)
    if not listed:
        raise ValueError("there is no structure to relax.")
    for place, atoms in enumerate(listed):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"structure {place} must be an ase.Atoms, but {atoms!r} was given.")
        try:
            check_structure(atoms, model, skin)
        except ValueError as error:
            formula = atoms.get_chemical_formula()
            raise ValueError(f"structure {place} ({formula}): {error}") from error
    return listed


def check_structure(atoms: Atoms, model: AbstractPotential, skin: float = SKIN) -> None:
    """Refuse a structure that cannot be treated.

    Args:
        atoms: The structure.
        model: The potential.
        skin: See `checked`.

    Raises:
        ValueError: If it cannot be treated, with the reason.
    """
    why = _geometry(atoms)
    if why is not None:
        raise ValueError(why)
    check_occupancy(atoms)
    movable(atoms)
    check_species(atoms, model)
    why = _reach(atoms, model.cutoff, skin)
    if why is not None:
        raise ValueError(why)


def check_species(atoms: Atoms, model: AbstractPotential) -> None:
    """Refuse elements that the potential does not know.

    Raises:
        ValueError: With the unknown and the known elements.
    """
    if model.species is None:
        return
    others = sorted(set(atoms.get_chemical_symbols()) - set(model.species))
    if others:
        raise ValueError(
            f"the potential does not know {', '.join(others)}; it knows {', '.join(model.species)}."
        )


def _geometry(atoms: Atoms) -> str | None:
    if not len(atoms):
        return "it has no atoms."
    if not np.all(np.isfinite(atoms.positions)) or not np.all(np.isfinite(atoms.cell.array)):
        return "positions or cell are not finite."
    if any(atoms.pbc & (np.linalg.norm(atoms.cell.array, axis=1) == 0)):
        return "it is periodic along a lattice vector of length zero."
    if abs(np.linalg.det(complete_cell(atoms.cell))) < 1e-9:
        return "its lattice vectors lie in one plane."
    masses = atoms.get_masses()
    if not np.all(np.isfinite(masses) & (masses > 0)):
        return "masses must be finite and above zero."
    if not np.all(np.isfinite(atoms.get_momenta())):
        return "momenta are not finite."
    return None


def _reach(atoms: Atoms, cutoff: float | None, skin: float) -> str | None:
    if cutoff is None or not any(atoms.pbc):
        return None
    if math.isinf(cutoff):
        return (
            "it is periodic, so that the potential needs a cutoff; give cutoff=..., for "
            "Lennard-Jones 3 sigma."
        )
    cell = complete_cell(atoms.cell)
    many = expected_neighbors(len(atoms), cell, atoms.pbc, cutoff + skin)
    if many > MOST_NEIGHBORS:
        return (
            f"with a cutoff of {cutoff:g} and a skin of {skin:g} Angstrom each atom would have "
            f"about {many:.1e} neighbours, more than {MOST_NEIGHBORS:,}; give a smaller cutoff, "
            "or check the cell."
        )
    apart = cells_apart(atoms.positions, cell, atoms.pbc)
    if apart > MOST_CELLS:
        return (
            f"its atoms are {apart:.3g} cells apart, more than {MOST_CELLS:,}; bring them into one "
            "cell: atoms.wrap()."
        )
    return None
