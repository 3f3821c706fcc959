"""`ritz molecule`: what its builder makes of a configuration."""

import numpy as np
import pytest

from ritz.cli.main import main
from ritz.cli.molecule.build import ORBITALS, Builder
from ritz.cli.molecule.config import MoleculeRun, System
from ritz.molecule.orbitals import Orbitals, orbitals_of


def helium(**changes):
    """A run on helium, with orbitals of Slater's rules."""
    run = MoleculeRun(system=System(name="He", **changes))
    run.pretrain.basis = "slater"
    return run


def orbitals(run, folder, **kwargs):
    return Builder(run).pretrain(folder, **kwargs).orbitals  # type: ignore[attr-defined]


def test_saved_orbitals_are_used_for_the_same_molecule_and_basis_only(tmp_path, monkeypatch):
    first = orbitals(helium(), tmp_path, saves=False)
    assert not (tmp_path / ORBITALS).exists()
    orbitals(helium(), tmp_path)
    triplet = orbitals(helium(spin=2), tmp_path)
    assert triplet.up.shape[-1] == 2 and first.up.shape[-1] == 1
    assert Orbitals.load(tmp_path / ORBITALS).up.shape[-1] == 2  # what was computed last

    asked = []
    monkeypatch.setattr(
        "ritz.molecule.orbitals.orbitals_of",
        lambda molecule, basis: asked.append(basis) or orbitals_of(molecule, "slater"),
    )
    kept = orbitals(helium(spin=2), tmp_path)
    assert not asked
    np.testing.assert_array_equal(kept.up, triplet.up)
    other = helium(spin=2)
    other.pretrain.basis = "cc-pvtz"
    orbitals(other, tmp_path)
    (tmp_path / ORBITALS).write_bytes(b"cut off")
    orbitals(other, tmp_path)
    assert asked == ["cc-pvtz"] * 2
