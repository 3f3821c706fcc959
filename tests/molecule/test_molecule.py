"""Molecules from names, files and lists, and what is refused."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.io import read, write
from ase.units import Bohr

from ritz.molecule import Molecule
from ritz.molecule.library import LIBRARY
from ritz.molecule.slater import exponent
from ritz.molecule.walkers import initial_electrons

H2 = [("H", (0, 0, 0)), ("H", (0, 0, 1.4))]


def test_names_files_atoms_and_lists_are_one_molecule(tmp_path):
    named = Molecule("LiH")
    assert (named.n_electrons, named.n_up, named.n_down, named.charge) == (4, 2, 2, 0)
    assert named.energy == -8.070548
    atoms = Atoms("LiH", named.coordinates * Bohr)
    atoms.write(tmp_path / "a.xyz")
    places = list(zip(named.symbols, named.positions, strict=True))
    in_angstrom = [(symbol, np.array(place) * Bohr) for symbol, place in places]
    for same in (
        Molecule(atoms),
        Molecule(tmp_path / "a.xyz"),
        Molecule(str(tmp_path / "a.xyz")),
        Molecule(places, unit="bohr"),
        Molecule(in_angstrom, unit="angstrom"),
        Molecule("Li 0 0 -1.5075; H 0 0 1.5075", unit="bohr"),
        Molecule("\nLi, 0, 0., -15.075e-1\nH 0 0 1.5075\n", unit="bohr"),
    ):
        np.testing.assert_allclose(same.positions, named.positions, atol=1e-7)
        assert (same.symbols, same.n_up, same.n_down) == (named.symbols, 2, 2)
        assert abs(same.nuclear_repulsion - 3 / 3.015) < 1e-6
    assert hash(Molecule(places, unit="bohr")) == hash(named)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_is_consistent(name, caplog):
    with caplog.at_level(logging.WARNING):
        molecule = Molecule(name)
    assert not caplog.text and molecule.energy is not None and molecule.n_up >= molecule.n_down


def test_other_states_than_those_of_the_library_have_no_reference():
    assert Molecule("C", spin=4).energy is None and Molecule("Li", charge=1).energy is None
    assert Molecule("Li", charge=1).spin == 0 and Molecule("C").spin == 2


@pytest.mark.parametrize(("atoms", "settings", "told"), [
    ("LiHe", {}, "no molecule 'LiHe' in the library; did you mean LiH"),
    ("Sodium", {}, "no molecule 'Sodium' in the library; it has: H, He"),
    ("water.xyz", {}, "there is no file water.xyz"),
    ("H 0 0 0; H 0 0 1.4", {}, "unit: are the positions in bohr or in angstrom"),
    ("H 0 0 0; H 0 1.4", {"unit": "bohr"}, "'H 0 1.4' was given, but a symbol and three coord"),
    ([("Xx", (0, 0, 0))], {}, "'Xx' is the symbol of no element"),
    ([("he", (0, 0, 0))], {}, "'he' is the symbol of no element; did you mean He"),
    (H2, {}, r"unit: are the positions in bohr or in angstrom\? Give unit='bohr'"),
    (H2, {"unit": "nm"}, "unit must be 'bohr' or 'angstrom', but 'nm' was given"),
    ("H2", {"unit": "bohr"}, "the library has H2 with its unit; leave it out"),
    ([H2[0], H2[0]], {"unit": "bohr"}, r"atoms 0 \(H\) and 1 \(H\) are on top of each other"),
    ("H", {"charge": 1}, "charge=1 leaves no electrons; the largest charge of H is 0"),
    ("Li", {"spin": 0}, "spin=0 is impossible: it is n_up - n_down, and the 3 electrons of Li "
     "have an odd one from -3 to 3, such as spin=1"),
    ([("Li", (0, 0, 0))], {}, "spin is missing: it is n_up - n_down, and the 3 electrons of Li "
     "have an odd one from -3 to 3, such as spin=1. The Li of the library has spin=1"),
    ("He", {"spin": 4}, "spin=4 is impossible"),
    ("He", {"spin": 0.5}, "spin must be a whole number, but 0.5"),
    ([("H", (0, 0))], {}, "atoms takes a name such as 'LiH', an XYZ file"),
    (3, {}, "atoms takes a name such as 'LiH', an XYZ file"),
    (Atoms("H", pbc=True, cell=[5, 5, 5]), {}, "a molecule is not periodic"),
    (Atoms("H"), {"unit": "bohr"}, "ASE and XYZ files have positions in angstrom"),
])  # fmt: skip
def test_bad_molecules_are_told(atoms, settings, told):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        Molecule(atoms, **settings)


@pytest.mark.parametrize(("distance", "unit", "told"), [
    (0.74, "bohr", "closer than in any bond: is the unit right"),
    (1.4, "angstrom", "farther than in any bond: is the unit right"),
    (0.74, "angstrom", ""),
])  # fmt: skip
def test_distances_like_those_of_no_bond_are_warned_of(distance, unit, told, caplog):
    Molecule([("H", (0, 0, 0)), ("H", (0, 0, distance))], unit=unit)
    assert told in caplog.text and bool(told) == bool(caplog.text)


def test_slater_s_exponents():
    """Slater, Phys. Rev. 36, 57 (1930): (Z - screening) / n*."""
    assert exponent(1, 1, 0) == 1.0
    assert exponent(2, 1, 0) == pytest.approx(1.7)
    assert exponent(6, 1, 0) == pytest.approx(5.7)
    assert exponent(6, 2, 0) == exponent(6, 2, 1) == pytest.approx(3.25 / 2)
    assert exponent(26, 3, 2) == pytest.approx((26 - 19.75) / 3)
    assert exponent(26, 4, 0) == pytest.approx(3.75 / 3.7)


def test_walkers_begin_shared_out_over_the_nuclei():
    water = Molecule(ase_molecule("H2O"))
    walkers = initial_electrons(water, 50, 1)
    assert walkers.shape == (50, 10, 3)
    nearest = np.linalg.norm(walkers[:, :, None] - water.coordinates, axis=-1).argmin(-1)
    of_oxygen = (nearest == list(water.symbols).index("O")).sum(1)
    assert 6 < of_oxygen.mean() < 9.5
    for name, charge, spin in (("N", 0, 5), ("H3+", None, None), ("Li", -1, 0), ("H2+", None, 1)):
        molecule = Molecule(name, charge=charge, spin=spin)
        assert initial_electrons(molecule, 3).shape == (3, molecule.n_electrons, 3)
    assert np.array_equal(initial_electrons(water, 2, 5), initial_electrons(water, 2, 5))


def test_a_file_with_several_geometries_is_refused(tmp_path):
    frames = [Atoms("H2", [(0, 0, 0), (0, 0, z)]) for z in (0.7, 0.75, 0.8)]
    write(tmp_path / "path.xyz", frames)
    with pytest.raises(
        ValueError, match=r"has 3 geometries, .*path.xyz', index=-1\)\) for the last"
    ):
        Molecule(tmp_path / "path.xyz")
    last = Molecule(read(tmp_path / "path.xyz", index=-1))
    assert last.positions[1][2] == pytest.approx(0.8 / Bohr)
