import numpy as np
import pytest
from ase import Atoms

from ritz.potentials.occupancy import check_occupancy


@pytest.mark.parametrize(
    ("sites", "told"),
    [
        ({"0": {"Ar": 0.5, "Kr": 0.5}}, "a.cif: a site is occupied by 0.5 Ar and 0.5 Kr; energies"),
        ({"0": {"Ar": 1.0}, "1": {"Kr": 0.25}}, "a.cif: a site is occupied by 0.25 Kr"),
        ({"0": {"Ar": 1.0, "Kr": 0.0}}, "occupied by 1 Ar and 0 Kr"),
    ],
)
def test_sites_that_are_shared_are_refused(sites, told):
    with pytest.raises(ValueError, match=told):
        check_occupancy(Atoms("Ar", info={"occupancy": sites}), "a.cif")


def test_occupancies_by_atom():
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 4]])
    for allowed in ([1.0, 1.0], [0.0, 0.0], [1.0, 0.9999]):
        atoms.set_array("occupancy", np.array(allowed))
        check_occupancy(atoms)
    check_occupancy(Atoms("Ar", info={"occupancy": {"0": {"Ar": 1.0}}}))
    atoms.set_array("occupancy", np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"^atom 1 \(Ar\) has the occupancy 0"):
        check_occupancy(atoms)
