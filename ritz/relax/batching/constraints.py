"""Which coordinates of a structure may move, according to its ASE constraints."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixConstraint, FixedLine, FixedPlane, FixScaled
from numpy.typing import ArrayLike

from ritz.wording import counted

HELD = "FixAtoms, FixCartesian, and along the axes FixScaled, FixedPlane and FixedLine"
"""Supported constraints, for messages."""

_ALIGNED = 1e-6
"""Largest deviation of a direction from an axis, as a fraction of its length."""


def movable(atoms: Atoms) -> np.ndarray:
    """Coordinates that are not held by a constraint, booleans of shape (n_atoms, 3).

    Raises:
        ValueError: If a constraint cannot be held; it is named.
    """
    free = np.ones((len(atoms), 3), bool)
    for constraint in atoms.constraints:
        own = _free_axes(constraint, atoms)
        index: np.ndarray = constraint.index
        if len(index) and not -len(atoms) <= min(index) <= max(index) < len(atoms):
            name = type(constraint).__name__
            raise ValueError(
                f"{name} holds atom {max(index)}, but the structure has "
                f"{counted(len(atoms), 'atom')}."
            )
        free[index] &= own
    return free


def _free_axes(constraint: FixConstraint, atoms: Atoms) -> np.ndarray:
    """Which of the directions x, y and z a constraint leaves free, for each of its atoms."""
    name = type(constraint).__name__
    if type(constraint) is FixAtoms:
        return np.zeros(3, bool)
    if type(constraint) is FixCartesian:
        return ~np.asarray(constraint.mask, bool)  # true where held
    if type(constraint) is FixScaled:
        mask = np.asarray(constraint.mask, bool)
        return _axes(atoms.cell.complete().array[~mask], name, "the free lattice vectors")
    if type(constraint) is FixedLine:
        return _axes([constraint.dir], name, "its direction")
    if type(constraint) is FixedPlane:
        return ~_axes([constraint.dir], name, "its normal")
    raise ValueError(f"{name} cannot be held; these can: {HELD}.")


def _axes(directions: ArrayLike, name: str, what: str) -> np.ndarray:
    """The coordinate axes that span the same space as given directions.

    Raises:
        ValueError: If no set of axes does.
    """
    directions = np.asarray(directions, float).reshape(-1, 3)
    if not len(directions):
        return np.zeros(3, bool)
    basis, _ = np.linalg.qr(directions.T)
    onto = basis @ basis.T  # 0 and 1 on the diagonal, and zeros elsewhere, for axes alone
    found = np.diag(onto) > 0.5
    if not np.allclose(onto, np.diag(found.astype(float)), atol=_ALIGNED):
        raise ValueError(
            f"{name} cannot be held: {what} must lie along x, y or z, or span a plane of them, "
            f"but here {what} {'are' if what.endswith('s') else 'is'} "
            f"{np.round(directions, 6).tolist()}. These can always be held: FixAtoms, FixCartesian."
        )
    return found
