"""Trained potentials in ASE and in `ritz.relax`, and committees."""

import json

import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from ritz.mlip import (
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    MLIPCalculator,
    Subset,
)  # fmt: skip
from ritz.relax import relax
from tests.mlip.systems import ARCH, DATA, config, dataset, descriptor, leaves, potential, tio2


@pytest.fixture(scope="module")
def reference_potential():
    return ANNPotential.from_aenet_ascii(
        [DATA / f"reference.{symbol}.nn.ascii" for symbol in ("Ti", "O")]
    )


@pytest.mark.medium
def test_ase_relaxes_and_conserves_energy(reference_potential):
    atoms = tio2(1)[0].to_ase()
    atoms.calc = MLIPCalculator(reference_potential)
    found = reference_potential.predict(tio2(1), eval_forces=True)
    assert atoms.get_potential_energy() == pytest.approx(found.total_energy[0], abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), found.forces[0], atol=1e-9)
    assert atoms.get_potential_energies().sum() == pytest.approx(found.total_energy[0], abs=1e-8)
    stress = atoms.get_stress(voigt=False)
    np.testing.assert_allclose(stress, found.stress[0], atol=1e-10)
    assert FIRE(atoms, logfile=None).run(fmax=0.05, steps=100)
    # The same minimum from the driver of Ritz.
    other = relax(tio2(1)[0].to_ase(), reference_potential.frozen(), fmax=0.05, max_steps=100)
    assert other.status == "converged"
    assert other.energy == pytest.approx(atoms.get_potential_energy(), abs=0.01)

    momenta = (
        np.random.default_rng(0).normal(size=(24, 3))
        * np.sqrt(atoms.get_masses() * 300 * units.kB)[:, None]
    )
    atoms.set_momenta(momenta)
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=1.0 * units.fs).run(40)
    assert abs(atoms.get_total_energy() - start) / 24 < 1e-4
    atoms.symbols[0] = "C"
    with pytest.raises(ValueError, match="knows Ti, O, but not .'C'"):
        atoms.get_potential_energy()


@pytest.fixture(scope="module")
def committee(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committee") / "run"
    made = CommitteePotential(ARCH, descriptor())
    members = CommitteeConfig(num_members=3, base_seed=0, output_dir=folder)
    return made, made.train(dataset=dataset(), config=config(), committee_config=members)


@pytest.mark.medium
def test_a_member_is_what_it_would_be_alone(committee):
    made, result = committee
    alone = potential()
    out = alone.train(dataset=dataset(), config=config())
    for a, b in zip(leaves(made.members[0]), leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    names = [name for name in out.errors if name != "seconds"]
    np.testing.assert_allclose(result.trainouts[0].errors[names], out.errors[names], rtol=1e-9)
    assert not np.allclose(leaves(made.members[0])[0], leaves(made.members[1])[0])


@pytest.mark.medium
def test_the_folder_of_a_committee(committee):
    made, result = committee
    assert [member.seed for member in result.members] == [0, 1, 2]
    files = {"model.npz", "history.json", "history.csv", "summary.json"}
    for member in result.members:
        assert {path.name for path in member.path.iterdir()} == files
        summary = json.loads((member.path / "summary.json").read_text())
        assert summary["stats"]["n_epochs"] == 4
    again = CommitteePotential.from_directory(result.output_dir)
    assert [np.array_equal(leaves(a)[0], leaves(b)[0])
            for a, b in zip(again.members, made.members, strict=True)] == [True] * 3  # fmt: skip
    assert json.loads(result.metadata_path.read_text())["config"]["force_weight"] == 0.1
    table = result.to_dataframe()
    assert result.stats["final_RMSE_test"]["mean"] == pytest.approx(table["final_RMSE_test"].mean())
    assert "final_RMSE_test" in str(result)
    with pytest.raises(ValueError, match="holds a committee already"):
        made.train(dataset=dataset(), config=config(),
                   committee_config=CommitteeConfig(output_dir=result.output_dir))  # fmt: skip
    with pytest.raises(ValueError, match="there is no committee_metadata"):
        CommitteePotential.from_directory(DATA)


def test_predictions_of_a_committee(committee):
    made, _ = committee
    part = Subset(dataset(), [5, 2, 9])
    found = made.predict_dataset(part, eval_forces=True)
    members = [member.predict_dataset(part, eval_forces=True) for member in made.members]
    energies = np.array([m.total_energy for m in members])
    np.testing.assert_allclose([r.energy_mean for r in found], energies.mean(axis=0))
    np.testing.assert_allclose([r.energy_std for r in found], energies.std(axis=0))
    forces = np.array([m.forces[1] for m in members])
    np.testing.assert_allclose(found[1].force_uncertainty, forces.std(axis=0).mean(axis=1))
    assert [r.source_index for r in found] == [5, 2, 9]
    top = found.top_uncertain(2)
    assert len(top) == 2 and top[0].energy_std == max(r.energy_std for r in found)
    assert list(found.to_dataframe()["name"]) == [s.name for s in part]
    with pytest.raises(ValueError, match="there is no column 'spread'; there are index"):
        found.sort_by("spread")

    atoms = part.get_structure(1).to_ase()
    atoms.calc = MLIPCalculator(made)
    assert atoms.get_potential_energy() == pytest.approx(found[1].energy_mean, abs=1e-8)
    assert atoms.calc.results["energy_std"] == pytest.approx(found[1].energy_std, abs=1e-8)
    np.testing.assert_allclose(
        atoms.calc.results["force_uncertainty"], found[1].force_uncertainty, atol=1e-9
    )
    files = made.to_aenet_ascii("ascii")
    assert files[2]["Ti"].as_posix() == "ascii/member_002/committee.Ti.nn.ascii"


def test_bad_committees():
    with pytest.raises(ValueError, match="3 different numbers"):
        CommitteeConfig(num_members=3, member_seeds=[1, 1, 2])
    with pytest.raises(ValueError, match="num_members must be a whole number"):
        CommitteeConfig(num_members=0)
    with pytest.raises(RuntimeError, match="no members yet"):
        CommitteePotential(ARCH, descriptor()).predict(tio2(1))
