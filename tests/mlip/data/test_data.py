import concurrent.futures
import pickle

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ritz.mlip import (
    CachedStructureDataset,
    ChebyshevDescriptor,
    HDF5StructureDataset,
    ReferenceEnergies,
    Structure,
    StructureDataset,
    Subset,
    from_ase,
    iter_samples,
    read_structures,
    train_test_split_dataset,
    write_xsf,
)  # fmt: skip
from ritz.mlip.descriptors.chunk import Chunk
from tests.mlip.systems import ATOMS, DATA, dataset, descriptor, random_structure, tio2


def brute_force(structure, cutoff):
    box, positions = structure.box, structure.positions
    heights = 1 / np.linalg.norm(np.linalg.inv(box), axis=0)
    spread = np.ptp(positions @ np.linalg.inv(box), axis=0)
    most = np.ceil(cutoff / heights + spread).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1)
    images = images.reshape(-1, 3)
    apart = positions[None, :, None] - positions[:, None, None] + images @ box
    d = np.linalg.norm(apart, axis=-1)
    first, second, image = np.nonzero((d <= cutoff) & (d > 1e-9))
    return first, second, images[image], d[first, second, image]


@pytest.mark.parametrize(("seed", "n", "skew"), [(0, 7, 0.0), (1, 5, 1.5), (2, 1, 0.5)])
def test_pairs_against_brute_force(seed, n, skew):
    structure = random_structure(seed, n=n, skew=skew)
    table = Chunk([structure, structure], ["Ti", "O"], 5.0).pairs
    first, second, shifts, distances = brute_force(structure, 5.0)
    half = len(table.second) // 2
    found = np.column_stack([table.first, table.second, table.shifts])[:half]
    wanted = np.column_stack([first, second, shifts])
    assert sorted(map(tuple, found)) == sorted(map(tuple, wanted))
    np.testing.assert_allclose(np.sort(table.distances[:half]), np.sort(distances))
    np.testing.assert_array_equal(table.counts[:n], table.counts[n:])


def test_partners_are_the_same_pairs_from_the_other_side():
    table = Chunk([random_structure(s) for s in range(3)], ["Ti", "O"], 4.0).pairs
    partners = table.partners()
    np.testing.assert_array_equal(table.first[partners], table.second)
    np.testing.assert_allclose(table.vectors[partners], -table.vectors, atol=1e-12)
    for atom in range(table.n_atoms):
        assert np.all(np.diff(table.distances[table.first == atom]) >= 0)


def test_xsf_with_energies_and_forces(tmp_path):
    structure = tio2(1)[0]
    assert len(structure) == 24 and structure.composition == {"O": 16, "Ti": 8}
    assert structure.energy == -19960.6617326
    np.testing.assert_array_equal(structure.forces[0], [0.07592985, -0.40427630, 0.69417754])
    assert structure.is_periodic and structure.name == "structure0001.xsf"
    write_xsf(tmp_path / "again.xsf", structure)
    again = read_structures(tmp_path / "again.xsf")[0]
    np.testing.assert_array_equal(again.positions, structure.positions)
    np.testing.assert_array_equal(again.forces, structure.forces)
    assert again.energy == structure.energy
    molecule = Structure([[0, 0, 0], [0, 0, 1.1]], ["C", "O"], energy=-3.0)
    write_xsf(tmp_path / "co.xsf", molecule)
    again = read_structures(tmp_path / "co.xsf")[0]
    assert not again.is_periodic and again.energy == -3.0 and again.forces is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CRYSTAL\n", "has no atoms"),
        ("ATOMS\nTi 0 0 zero\n", "'zero' is no number, in the line '0 0 zero'"),
        ("ATOMS\nTi 0 0 0\nO 1 1 1 0 0 0\n", r"rows with \[3, 6\]"),
        ("CRYSTAL\nPRIMVEC\n1 0 0\n0 1 0\n0 0 1\nPRIMCOORD\n2 1\nTi 0 0 0\n", "ends in the middle"),
    ],
)
def test_bad_xsf(tmp_path, text, message):
    (tmp_path / "bad.xsf").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_structures(tmp_path / "bad.xsf")


def labelled():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], info={"dft_energy": -14.0, "name": "co"})
    atoms.set_array("dft_forces", np.ones((2, 3)))
    return atoms


def test_labels_under_named_keys(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", [labelled(), labelled()])
    found = read_structures(tmp_path / "a.extxyz", energy_key="dft_energy", forces_key="dft_forces")
    assert [s.energy for s in found] == [-14.0, -14.0]
    assert found[1].name == "a.extxyz#frame=1"
    np.testing.assert_array_equal(found[0].forces, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"frame 0: .*no energy under the key 'energie'.*dft_ener"):
        read_structures(tmp_path / "a.extxyz", energy_key="energie")
    assert from_ase(labelled()).energy is None  # it has no energy under the usual name
    with pytest.raises(FileNotFoundError, match="no file"):
        read_structures(tmp_path / "b.extxyz")


def test_labels_of_calculators():
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=[4, 4, 4], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)), stress=range(6))
    found = from_ase(atoms)
    assert found.energy == -1.0 and found.stress[0, 1] == 5 and found.stress[1, 2] == 3
    again = found.to_ase()
    np.testing.assert_array_equal(again.get_stress(), range(6))
    assert found.volume == pytest.approx(64)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"positions": [[0, 0]]}, ValueError, r"positions must have the shape \(1, 3\)"),
        ({"positions": [[0, 0, np.nan]]}, ValueError, "positions must be finite"),
        ({"species": "Ti"}, TypeError, "a list with a symbol for each atom"),
        ({"species": ["Qq"]}, ValueError, "are no chemical symbols"),
        ({"species": ["X"]}, ValueError, r"\['X'\] are no chemical symbols"),
        ({"pbc": True}, ValueError, "needs a cell"),
        ({"cell": np.ones((3, 3))}, ValueError, "lie in one plane"),
        ({"forces": [1, 2, 3]}, ValueError, "forces must have the shape"),
        ({"weight": -1}, ValueError, "weight must not be negative"),
        ({"energy": "low"}, TypeError, "energy must be numbers"),
    ],
)
def test_bad_structures(settings, error, message):
    with pytest.raises(error, match=message):
        Structure(**{"positions": [[0, 0, 0]], "species": ["Ti"], **settings})


def test_filters_go_by_norms_and_referenced_energies():
    structures = tio2()
    forces = [np.linalg.norm(s.forces, axis=1).max() for s in structures]
    limit = float(np.median(forces))
    found = StructureDataset(structures, descriptor(), ATOMS, max_forces=limit)
    assert len(found) == sum(f <= limit for f in forces) < 24
    energies = [(s.energy - 8 * ATOMS["Ti"] - 16 * ATOMS["O"]) / 24 for s in structures]
    limit = float(np.median(energies))
    found = StructureDataset(structures, descriptor(), ATOMS, max_energy=limit)
    assert len(found) == sum(e <= limit for e in energies)
    with pytest.raises(ValueError, match="of 24 structures none is within max_energy=-100"):
        StructureDataset(structures, descriptor(), ATOMS, max_energy=-100)


def test_what_is_left_out_needs_no_energies_of_atoms():
    """A data set for a network of graphs does not know the species of the potential."""
    structures = [*tio2(3), Structure([[0.0, 0, 0], [1, 0, 0]], ["C", "O"], 1e3)]
    found = StructureDataset(structures, None, ATOMS, max_energy=0.0)
    assert len(found) == 3 and found.atomic_energies == ATOMS
    with pytest.raises(ValueError, match="give an energy in eV for C too, or {} in place of all"):
        StructureDataset(structures, None, ATOMS)
    assert StructureDataset(structures, None, {}).atomic_energies == {}


def test_splits_and_subsets():
    train, test = train_test_split_dataset(dataset(), 0.25, seed=7)
    assert len(train) == 18 and len(test) == 6
    assert sorted(train.indices + test.indices) == list(range(24))
    assert test.indices == sorted(test.indices)
    inner = Subset(test, [1, 3])
    assert inner.source_index(1) == test.indices[3]
    assert inner.get_structure(0) is dataset().structures[test.indices[1]]
    cached = CachedStructureDataset(tio2(2), descriptor())
    np.testing.assert_array_equal(cached.features[1], descriptor().featurize(tio2(2)[1]))


def test_reference_energies():
    samples = [("TiO2", -30.0), ({"Ti": 2, "O": 3}, -52.0), ("TiO", -21.0)]
    found = ReferenceEnergies.from_regression(iter(samples))
    assert found.atomic_energies == pytest.approx({"O": -10.0, "Ti": -11.0}, rel=0.2)
    exact = [({"Ti": 1, "O": n}, -11.0 - 10.0 * n) for n in (1, 2, 3)]
    found = ReferenceEnergies.from_regression(exact)
    assert found.atomic_energies == pytest.approx({"O": -10.0, "Ti": -11.0})
    assert found.rmse == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="do not determine the energies"):
        ReferenceEnergies.from_regression(iter_samples(DATA / "*.xsf"))
    with pytest.raises(ValueError, match="1e\\+300 eV is no energy"):
        ReferenceEnergies.from_regression([({"Ti": 1}, 1e300)])
    compounds = [("Ti2O4", -62.0), ("TiO2", -30.0), ("O2", -18.0), ("O", -1.0)]
    found = ReferenceEnergies.from_reference_compounds(compounds, ["TiO2", "O2"])
    assert found.atomic_energies == pytest.approx({"O": -9.0, "Ti": -13.0})
    with pytest.raises(ValueError, match=r"no sample of \['Ti'\]"):
        ReferenceEnergies.from_reference_compounds(compounds, ["Ti", "O"])
    with pytest.raises(ValueError, match="none a mixture"):
        ReferenceEnergies.from_reference_compounds(compounds, ["O2", "O"])


@pytest.mark.medium
def test_a_data_set_in_a_file(tmp_path):
    kept = HDF5StructureDataset(
        tmp_path / "in" / "a.h5", descriptor(), ATOMS, in_memory_cache_size=2
    )
    with pytest.raises(ValueError, match="make it with build_database"):
        len(kept)
    others = [random_structure(0), Structure([[0.0, 0, 0]], ["O"], weight=2.0)]
    others[0].stress = np.arange(9.0).reshape(3, 3)
    kept.build_database([*tio2(3), *others], persist_features=True)
    assert len(kept) == 5 and [p.name for p in (tmp_path / "in").iterdir()] == ["a.h5"]
    for index, structure in enumerate([*tio2(3), *others]):
        found = kept.get_structure(index)
        for name in ("positions", "forces", "cell", "stress", "energy", "weight", "pbc"):
            np.testing.assert_array_equal(getattr(found, name), getattr(structure, name))
        assert found.species == structure.species and found.name == structure.name
        np.testing.assert_allclose(
            kept.get_features(index), descriptor().featurize(structure), atol=1e-12
        )
    again = pickle.loads(pickle.dumps(HDF5StructureDataset(kept.path, descriptor())))
    assert again.atomic_energies == ATOMS
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda i: again.get_structure(i % 5).name, range(40)))
    assert names[:3] == [s.name for s in tio2(3)]
    other = HDF5StructureDataset(kept.path, ChebyshevDescriptor(["Ti", "O"], 1, 3, 1, 3))
    assert other.get_features(0) is None
    with pytest.raises(IndexError, match="there are 5"):
        kept.get_structure(5)
    with pytest.raises(FileExistsError, match="is there already"):
        kept.build_database(tio2(1))
    empty = HDF5StructureDataset(tmp_path / "b.h5", descriptor(), ATOMS, max_energy=-100)
    with pytest.raises(ValueError, match="no structure to write"):
        empty.build_database(DATA / "*.xsf", build_workers=1)
    assert not (tmp_path / "b.h5").exists()
