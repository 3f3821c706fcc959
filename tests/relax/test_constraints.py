"""Which coordinates are held, and which constraints are refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixScaled,
    FixSymmetry,
)
from ase.io import read, write

from ritz.relax.batching.constraints import movable
from tests.relax.systems import argon

CUBE = np.diag([4.0, 5.0, 6.0])
SHEARED = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0, 0, 6.0]])
TURNED = np.array([[0, 4.0, 0], [0, 0, 5.0], [6.0, 0, 0]])
LONGER = np.array([[4.0, 0, 0], [0, 5.0, 0], [1.0, 0, 6.0]])


def free(constraint, cell=CUBE):
    atoms = Atoms("Ar3", np.diag([1.0, 2.0, 3.0]), cell=cell, pbc=True, constraint=constraint)
    found = movable(atoms)
    assert np.all(found[[0, 2]])
    return "".join("FT"[int(x)] for x in found[1])


@pytest.mark.parametrize(
    ("constraint", "cell", "expected"),
    [
        (FixAtoms([1]), CUBE, "FFF"),
        (FixCartesian([1], [True, False, False]), SHEARED, "FTT"),
        (FixScaled([1], [True, True, False]), CUBE, "FFT"),
        (FixScaled([1], [True, True, True]), SHEARED, "FFF"),
        (FixScaled([1], [True, True, False]), SHEARED, "FFT"),  # along c, which is z
        (FixScaled([1], [False, False, True]), SHEARED, "TTF"),  # in the plane of a and b
        (FixScaled([1], [True, False, False]), TURNED, "TFT"),
        (FixedLine([1], [0, 0, -2]), CUBE, "FFT"),
        (FixedPlane([1], [0, 3, 0]), CUBE, "TFT"),
    ],
)
def test_coordinates_are_held(constraint, cell, expected):
    assert free(constraint, cell) == expected


@pytest.mark.parametrize(
    ("constraint", "cell", "message"),
    [
        (FixScaled([1], [True, True, False]), LONGER, "FixScaled cannot be held: the free lattice"),
        (FixScaled([1], [False, True, True]), SHEARED @ TURNED[::-1] + 1, "FixScaled"),
        (FixedLine([1], [1, 1, 0]), CUBE, "FixedLine cannot be held: its direction"),
        (FixedPlane([1], [1, 1, 0]), CUBE, "FixedPlane cannot be held: its normal"),
        (FixBondLength(0, 1), CUBE, "FixBondLengths cannot be held; these can: FixAtoms"),
        (FixCom(), CUBE, "FixCom cannot be held"),
        (FixAtoms([7]), CUBE, "FixAtoms holds atom 7, but the structure has 3 atoms"),
    ],
)
def test_others_are_refused_by_name(constraint, cell, message):
    with pytest.raises(ValueError, match=message):
        free(constraint, cell)


def test_symmetry_cannot_be_held():
    atoms = argon(0)
    atoms.constraints = [object.__new__(FixSymmetry)]
    with pytest.raises(ValueError, match="FixSymmetry cannot be held"):
        movable(atoms)


def test_a_poscar_with_selective_dynamics(tmp_path):
    """ASE reads `F F T` as FixScaled."""
    atoms = argon(0)
    atoms.set_cell(np.diag([10.0, 11.0, 12.0]))
    atoms.set_constraint([FixScaled([0], [True, True, False]), FixAtoms([2])])
    write(tmp_path / "POSCAR", atoms)
    found = movable(read(tmp_path / "POSCAR"))
    assert found[0].tolist() == [False, False, True] and not found[2].any() and found[1].all()
