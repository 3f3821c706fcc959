"""A round of active learning of EMT copper: what is found makes the potential better."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ritz.exploration import explore, structure_features
from ritz.mlip import (
    Adam,
    ANNPotential,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    TrainingConfig,
)
from ritz.relax import SpreadLimit

DESCRIPTOR = ChebyshevDescriptor(["Cu"], 4, 4.0, 2, 3.0, min_cutoff=1.0)


def labelled(atoms):
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms


def rattled(n, scale, first=0):
    found = []
    for seed in range(first, first + n):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.rattle(scale, seed=seed)
        found.append(labelled(atoms))
    return found


def error(committee, test):
    found = committee.predict(test, eval_forces=True)
    pairs = zip(found, test, strict=True)
    return np.sqrt(np.mean([(r.forces_mean - a.get_forces()) ** 2 for r, a in pairs]))


@pytest.mark.medium
def test_a_round_makes_the_potential_better(tmp_path):
    structures, test = rattled(10, 0.03), rattled(12, 0.1, first=100)
    committee = CommitteePotential({"Cu": [(6, "tanh")]}, DESCRIPTOR)
    config = TrainingConfig(
        iterations=200, method=Adam(mu=0.02, batchsize=8), force_weight=0.5, checkpoint_dir=None,
        save_best=False, show_progress=False,
    )  # fmt: skip
    members = [CommitteeConfig(3, output_dir=tmp_path / name) for name in "ab"]
    committee.train(structures, config, members[0])
    committee.calibrate(structures[::3], tmp_path / "a")
    before = error(committee, test)

    limit = 3 * committee.calibration.force.expected[-1]
    given = [structures[0], structures[1]]
    settings = {"temperatures": [300, 900], "steps": 40, "dt": 4.0, "copies": 4, "seed": 3}
    found = explore(
        given, tmp_path / "a", SpreadLimit(force=limit), 5, known=structures, **settings
    )
    assert len(found.selected) == 5 <= len(found.candidates) <= found.n_trajectories == 8
    assert all(atoms.info["expected_force_error"] > limit for atoms in found.selected)
    features = structure_features(found.selected, DESCRIPTOR)
    gaps = np.linalg.norm(features[:, None] - features, axis=-1)[~np.eye(5, dtype=bool)]
    assert gaps.min() > 1e-6

    new = [labelled(Atoms(a.symbols, a.positions, cell=a.cell, pbc=True)) for a in found.selected]
    committee.train([*structures, *new], config, members[1], resume_from=tmp_path / "a")
    assert error(committee, test) < 0.8 * before

    known = explore(given, committee, SpreadLimit(force=1e-9), 5, known=structures, **settings)
    assert len(known.candidates) == 8 and known.selected == []
    assert "8 of 8 trajectories passed a limit, 0 selected; their lowest expected" in str(known)


def test_other_arguments_are_refused(tmp_path):
    atoms, single = bulk("Cu"), ANNPotential({"Cu": [(2, "tanh")]}, DESCRIPTOR)
    with pytest.raises(TypeError, match="ANNPotential is not one; train a CommitteePotential"):
        explore(atoms, single, SpreadLimit(force=1.0))
    with pytest.raises(ValueError, match="no file or folder 'nothing' with a committee"):
        explore(atoms, "nothing", SpreadLimit(force=1.0))
    with pytest.raises(TypeError, match=r"such as SpreadLimit\(force=0.3\), but 0.3 was given"):
        explore(atoms, single, 0.3)
    with pytest.raises(ValueError, match="method must be 'farthest' or 'd_optimal'"):
        explore(atoms, single, SpreadLimit(force=1.0), method="random")


def test_features_of_structures():
    structures = rattled(2, 0.1)
    features = structure_features(structures, DESCRIPTOR)
    atoms = DESCRIPTOR.featurize(structures[1])
    expected = np.concatenate([atoms.mean(axis=0), atoms.min(axis=0), atoms.max(axis=0)])
    np.testing.assert_allclose(features[1], expected)
    assert structure_features([], DESCRIPTOR).shape == (0, len(expected))
