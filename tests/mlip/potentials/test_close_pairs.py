"""Atoms that are closer than a potential can tell: in data, predictions, the calculator."""

import numpy as np
import pytest
from ase import Atoms

from ritz.mlip import MLIPCalculator, Structure
from ritz.mlip.batching.survey import distances_as_json, least_distances, pair_limits
from ritz.mlip.descriptors.chunk import Chunk
from ritz.potentials.close_pairs import close_pair
from tests.relax.test_models import random_potential


def dimers(*distances, symbols="CuAu"):
    return [Atoms(symbols, [[0, 0, 0], [d, 0, 0]]) for d in distances]


def test_the_data_tell_the_smallest_distances():
    structures = [
        Structure([[0, 0, 0], [2.0, 0, 0], [0, 0, 2.7]], ["Cu", "Au", "Cu"]),
        Structure([[0, 0, 0], [2.5, 0, 0]], ["Cu", "Cu"]),
    ]
    chunk = Chunk(structures, ["Cu", "Au", "Pt"], 4.0)
    found = least_distances(chunk)
    known = Chunk(
        structures, ["Cu", "Au", "Pt"], 4.0, features=[np.zeros((3, 1)), np.zeros((2, 1))]
    )
    np.testing.assert_array_equal(least_distances(known), found)
    assert distances_as_json(found) == [[2.5, 2.0, None], [2.0, None, None], [None, None, None]]


def test_limits_of_pairs():
    statistics = {"least_distances": [[2.5, 2.0], [2.0, None]]}
    np.testing.assert_allclose(pair_limits(statistics, 0.5, 2), [[2.0, 1.6], [1.6, 1.6]])
    np.testing.assert_allclose(pair_limits(statistics, 1.9, 2), [[2.0, 1.9], [1.9, 1.9]])
    np.testing.assert_allclose(pair_limits({}, 0.5, 2), 0.5)
    nothing = {"least_distances": [[None]]}
    np.testing.assert_allclose(pair_limits(nothing, 0.5, 1), 0.5)


def test_training_notes_them():
    potential = random_potential()
    structures = [Structure(a.positions, ["Cu", "Au"], energy=0.1 * d, cell=np.eye(3) * 9)
                  for d, a in zip((2.4, 2.2, 3.0), dimers(2.4, 2.2, 3.0), strict=True)]  # fmt: skip
    driver = potential.driver(structures)
    found = driver.prepared.statistics["least_distances"]
    assert found[0][1] == found[1][0] and found[0][1] in (2.2, pytest.approx(2.4))
    potential.take_from(driver)
    assert potential.limits[0, 1] == pytest.approx(0.8 * found[0][1])


def test_predictions_of_close_pairs_are_told(caplog):
    potential = random_potential()
    found = potential.predict(dimers(2.4, 1.5, 0.49, 0.0), eval_forces=True)
    assert np.isfinite(found.total_energy).tolist() == [True, True, False, False]
    assert [bool(np.all(np.isfinite(f))) for f in found.forces] == [True, True, False, False]
    text = caplog.text
    assert "structure_000001: atoms 0 (Cu) and 1 (Au) are 1.5 Angstrom apart" in text
    assert "are a guess" in text and "structure_000002: " in text
    assert "structure_000003: atoms 0 (Cu) and 1 (Au) are at one place" in text
    caplog.clear()
    potential.predict(dimers(2.4))
    assert not caplog.text


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (dimers(1.9)[0], r"AuCu: atoms 0 \(Cu\) and 1 \(Au\) are 1.9 Angstrom apart"),
        (dimers(0.0)[0], "are at one place"),
        (
            Atoms("Cu", cell=[1.5, 9, 9], pbc=True),
            r"atoms 0 \(Cu\) and its own periodic image are 1.5 Angstrom apart",
        ),
        (dimers(2.4, symbols="CuNi")[0], r"CuNi: the potential knows Cu, Au, but not \['Ni'\]"),
    ],
)
def test_the_calculator_refuses_them(atoms, message):
    atoms.calc = MLIPCalculator(random_potential())
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()


def test_the_closest_pair_is_that_beside_its_limit():
    positions = [[0, 0, 0], [1.0, 0, 0], [5.0, 0, 0], [6.2, 0, 0]]
    numbers = [1, 1, 29, 29]

    def limit(first, second):
        return np.where((first == 29) & (second == 29), 2.0, 0.7)

    found = close_pair(positions, np.eye(3) * 20, [False] * 3, numbers, limit)
    assert found is not None and (found.first, found.second, found.limit) == (2, 3, 2.0)
    assert close_pair(positions[:2], np.eye(3) * 20, [False] * 3, numbers[:2], limit) is None
