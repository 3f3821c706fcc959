"""What was made for one molecule is refused for another."""

import jax.numpy as jnp
import pytest

from ritz.callbacks import BestState
from ritz.molecule import (
    VMC,
    Dipole,
    Evaluation,
    FermiNet,
    Forces,
    Molecule,
    Pretraining,
    Relaxation,
    Scan,
    excited_orbitals,
    hartree_fock,
)
from ritz.samplers import Metropolis

H2, HE = Molecule("H2"), Molecule("He")
STRETCHED = H2.at(2 * H2.coordinates)
FEW = {"n_walkers": 2, "sampler": Metropolis(1)}


def network(molecule):
    return FermiNet(molecule, hidden=((2, 2),), n_determinants=1)


def moving(callback=None):
    driver = Relaxation(H2, network(H2), n_first=1, n_updates=1, n_measured=10, **FEW)
    driver.run(1, callback=callback, show_progress=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: VMC(HE, network(H2), **FEW),
            r"network has symbols=\('H', 'H'\), but He has",
        ),
        (
            lambda: VMC(STRETCHED, network(H2), **FEW),
            r"up to 0\.7\d* bohr away from those of H2",
        ),
        (lambda: Evaluation(STRETCHED, network(H2), {}, **FEW), "bohr away from those of H2"),
        (lambda: Pretraining(STRETCHED, network(H2), None), "bohr away from those of H2"),
        (lambda: Scan([H2, STRETCHED], network(HE), **FEW), r"network has symbols=\('He',\)"),
        (
            lambda: VMC(H2, network(H2), estimators={"f": Forces(HE)}, **FEW),
            r"estimator f \(Forces",
        ),
        (
            lambda: VMC(H2, network(H2), estimators={"d": Dipole(STRETCHED)}, **FEW),
            r"give Dipole\(molecule\) of the same one",
        ),
        (
            lambda: Relaxation(H2, network(H2), forces=Forces(HE), **FEW),
            "the molecule of the estimator of forces has symbols=",
        ),
        (lambda: moving(BestState(restore=True)), "but not the nuclei; leave out restore"),
    ],
)
def test_parts_of_another_molecule_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: excited_orbitals("H2", 2), "molecule must be a ritz.molecule.Molecule"),
        (lambda: hartree_fock("H2"), "molecule must be a ritz.molecule.Molecule"),
        (lambda: VMC(H2, FermiNet("H2"), **FEW), "molecule must be a ritz.molecule.Molecule"),
        (lambda: Pretraining(H2, network(H2), None), r"give hartree_fock\(molecule\), but None"),
        (lambda: Pretraining(H2, network(H2), [1, 2]), r"give one of the list, such as orbitals"),
    ],
)
def test_other_types_are_told(build, message):
    with pytest.raises(TypeError, match=message):
        build()


def test_networks_at_other_places_move_with_the_nuclei():
    Scan([STRETCHED, H2], network(H2), **FEW)


def test_estimators_are_asked_before_they_estimate():
    driver = VMC(H2, network(H2), **FEW)
    with pytest.raises(ValueError, match=r"estimator obs \(Dipole\) has symbols=\('He',\)"):
        driver.estimate(Dipole(HE))
    assert jnp.shape(driver.estimate(Dipole(H2)).mean) == (3,)
