"""What may be given as a model: potentials, trained ones, paths."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ritz.mlip import ANNPotential, ChebyshevDescriptor, CommitteePotential
from ritz.mlip.committee.results import METADATA
from ritz.mlip.models.abstract_model import Normalisation
from ritz.potentials import as_potential
from ritz.relax import LennardJones, Relaxation, relax
from tests.relax.systems import argon


def random_potential(seed=0):
    """As if it had been trained on structures whose atoms were at least 2 Angstrom apart."""
    descriptor = ChebyshevDescriptor(["Cu", "Au"], 3, 4.0, 1, 3.0, min_cutoff=0.5)
    potential = ANNPotential({"Cu": [(3, "tanh")], "Au": [(3, "tanh")]}, descriptor)
    potential.parameters = potential.first_parameters(seed)
    n = descriptor.n_features
    potential.normalisation = Normalisation(np.zeros(n), np.ones(n), 1.0, 0.0)
    potential.statistics = {"least_distances": [[2.0, 2.5], [2.5, None]]}
    return potential


def copper():
    return Atoms("CuAu", [[0, 0, 0], [2.4, 0, 0]])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    random_potential().save(folder / "one.npz")
    random_potential().save(folder / "run" / "potential.npz")
    random_potential().save(folder / "saved" / "best_model.npz")
    members = folder / "many" / "committee"
    for number in range(2):
        random_potential(number).save(members / f"member_{number}" / "model.npz")
    (members / METADATA).write_text(
        '{"members": [{"folder": "member_0"}, {"folder": "member_1"}]}'
    )  # fmt: skip
    (folder / "empty").mkdir()
    (folder / "text.npz").write_text("nonsense")
    return folder


@pytest.fixture(scope="module")
def expected():
    return relax(copper(), random_potential().frozen(), max_steps=0)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["one.npz", "run", "saved"])
def test_paths_of_trained_potentials(files, expected, name):
    found = relax(copper(), files / name, max_steps=0)
    assert found.energy == expected.energy
    assert relax(copper(), str(files / name), max_steps=0).energy == expected.energy


def test_potentials_that_are_not_frozen(expected):
    assert relax(copper(), random_potential(), max_steps=0).energy == expected.energy


def test_a_committee_is_the_mean_of_its_members(files, expected):
    committee = CommitteePotential.from_directory(files / "many" / "committee")
    other = relax(copper(), random_potential(1), max_steps=0)
    for given in (committee, files / "many", files / "many" / "committee"):
        found = relax(copper(), given, max_steps=0)
        assert found.energy == pytest.approx((expected.energy + other.energy) / 2, rel=1e-12)
    forces = (expected.atoms.get_forces() + other.atoms.get_forces()) / 2
    np.testing.assert_allclose(found.atoms.get_forces(), forces, atol=1e-12)
    close = Atoms("CuAu", [[0, 0, 0], [1.9, 0, 0]])
    assert "know" in relax(close, committee, max_steps=0).reason


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("nowhere/", ValueError, "there is no file or folder 'nowhere'"),
        ("empty", ValueError, "there is no trained potential in .*empty"),
        ("text.npz", ValueError, r"text\.npz is no potential that Ritz has written"),
        (EMT(), TypeError, r"calculator of ASE, EMT, .*ase\.optimize\.FIRE"),
        (LennardJones, TypeError, r"the class LennardJones; give a potential of it"),
        (3, TypeError, r"ritz\.relax\.Potential\(function"),
        (ANNPotential({"Cu": [(2, "tanh")]}, ChebyshevDescriptor(["Cu"], 1, 4.0, 1, 3.0)),
         RuntimeError, "has no parameters yet"),
        (CommitteePotential.of(random_potential()), RuntimeError, "no members yet"),
    ],
)  # fmt: skip
def test_other_models_are_refused(files, monkeypatch, model, error, message):
    monkeypatch.chdir(files)
    with pytest.raises(error, match=message):
        relax(copper(), model)


def test_sources_say_what_they_take():
    with pytest.raises(TypeError, match="a potential is an AbstractPotential, a trained one"):
        as_potential(3)


def test_elements_that_the_potential_does_not_know():
    nickel = bulk("Ni", cubic=True)
    message = r"structure 1 \(Ni4\): the potential does not know Ni; it knows Cu, Au"
    for model in (random_potential(), random_potential().frozen()):
        with pytest.raises(ValueError, match=message):
            Relaxation([copper(), nickel], model)
    tables = LennardJones({"Ne": 0.01}, {"Ne": 2.0, "Ar": 3.0}, cutoff=6.0)
    with pytest.raises(ValueError, match="does not know Ar; it knows Ne"):
        relax(argon(0), tables)


@pytest.mark.parametrize(
    ("symbols", "distance", "told"),
    [
        ("Cu2", 1.59, "atoms 0 (Cu) and 1 (Cu) are 1.59 Angstrom apart, but the potential knows "
         "such pairs only from 1.6 Angstrom on"),
        ("CuAu", 1.9, "only from 2 Angstrom on"),
        ("Au2", 0.6, "atoms 0 (Au) and 1 (Au) are 0.6 Angstrom apart"),
        ("Cu2", 0.3, "0.3 Angstrom apart"),
        ("Cu2", 0.0, "atoms 0 (Cu) and 1 (Cu) are at one place"),
    ],
)  # fmt: skip
def test_pairs_closer_than_in_the_data_fail(symbols, distance, told):
    pair = Atoms(symbols, [[0, 0, 0], [distance, 0, 0]])
    far = Atoms(symbols, [[0, 0, 0], [2.01, 0, 0]])
    found = relax([far, pair], random_potential(), max_steps=0)
    assert found.status[0] != "failed" and np.isfinite(found.energy[0])
    assert found.status[1] == "failed" and not np.isfinite(found.energy[1])
    assert told in found.reason[1]
