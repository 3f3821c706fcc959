"""Potentials of any module: energies, forces, training, files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ritz.mlip import (
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    GraphPotential,
    MLIPCalculator,
    PaiNN,
    Structure,
    load_potential,
)
from ritz.mlip.models.abstract_model import Normalisation
from ritz.relax import relax
from tests.mlip.systems import ATOMS, config, leaves, potential, random_structure, tio2


def painn(n_layers: int = 1) -> GraphPotential:
    return GraphPotential(PaiNN(4.0, 6, n_layers, 3), ["Ti", "O"], dtype="float64")


@pytest.fixture(scope="module")
def random_network() -> GraphPotential:
    """With two layers, as it is before training."""
    made = painn(2)
    made.parameters = made.first_parameters(0)
    made.normalisation = Normalisation(np.zeros(0), np.zeros(0), 1.0, 0.0)
    return made


class Springs:
    """Half of k (d - 2)^2, going to zero at the cutoff, of each pair: not a module of flax."""

    cutoff = 3.0

    def init(self, key, structure):
        return {"k": jnp.ones(())}

    def apply(self, params, structure):
        distances = jnp.sqrt(structure.squared_distances())
        near = structure.pairs & (distances < 3.0)
        each = jnp.where(near, (distances - 2) ** 2 * (3 - distances) ** 2, 0)
        return params["k"] / 4 * jnp.sum(each, axis=1)


@pytest.fixture(scope="module")
def trained():
    made = painn()
    return made, made.train(tio2(), config(iterations=3, atomic_energies=ATOMS))


@pytest.mark.slow
def test_a_message_passing_network_is_trained(trained):
    made, out = trained
    assert out.errors["RMSE_train"].iloc[-1] < out.errors["RMSE_train"].iloc[0]
    found = made.predict(tio2(), eval_forces=True)
    error = (found.total_energy - found.reference_energy) / 24
    squares = np.mean(error**2)
    parts = [(out.stats[f"final_RMSE_{s}"] ** 2, n) for s, n in (("train", 18), ("test", 6))]
    assert squares == pytest.approx(sum(value * n for value, n in parts) / 24)
    np.testing.assert_allclose(np.sum(found.forces[0], axis=0), 0, atol=1e-12)


@pytest.mark.medium
def test_energies_do_not_depend_on_how_a_structure_is_described(random_network):
    made = random_network
    one = random_structure(1, n=6)
    cell, turn = np.asarray(one.cell), Rotation.from_rotvec([0.3, 0.5, 0.2]).as_matrix()
    other = Structure((one.positions + cell[0] - 2 * cell[2]) @ turn.T, one.species,
                      cell=cell @ turn.T)  # fmt: skip
    found = made.predict([one, other], eval_forces=True)
    assert found.total_energy[0] == pytest.approx(found.total_energy[1], abs=1e-9)
    np.testing.assert_allclose(found.forces[1], found.forces[0] @ turn.T, atol=1e-9)
    np.testing.assert_allclose(found.stress[1], turn @ found.stress[0] @ turn.T, atol=1e-9)


def test_forces_and_stress_are_derivatives(random_network):
    made = random_network
    structure, step = random_structure(2, n=6), 1e-4
    found = made.predict(structure, eval_forces=True)

    def energy(strain, moved):
        turned = np.eye(3) + strain
        moved = Structure((structure.positions + moved) @ turned, structure.species,
                          cell=structure.cell @ turned)  # fmt: skip
        return made.predict(moved).total_energy[0]

    def slope(strain, moved):
        return (energy(strain, moved) - energy(-strain, -moved)) / (2 * step)

    moved, strain = np.zeros((6, 3)), np.zeros((3, 3))
    moved[3, 1] = strain[0, 1] = step
    expected = -slope(0 * strain, moved)
    assert found.forces[0][3, 1] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    expected = slope(strain, 0 * moved) / structure.volume
    assert found.stress[0][0, 1] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.slow
def test_it_is_used_as_others_are(trained, tmp_path):
    made, _ = trained
    structure = tio2(1)[0]
    found = made.predict(structure, eval_forces=True)
    atoms = structure.to_ase()
    atoms.calc = MLIPCalculator(made)
    assert atoms.get_potential_energy() == pytest.approx(found.total_energy[0], abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), found.forces[0], atol=1e-9)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), found.stress[0], atol=1e-10)
    assert relax(structure.to_ase(), made.frozen(), fmax=0.2, max_steps=30).status == "converged"
    made.save(tmp_path / "made.npz")
    again = load_potential(tmp_path / "made.npz")
    assert again.module == made.module and again.dtype == "float64"
    np.testing.assert_array_equal(again.predict(structure).total_energy, found.total_energy)
    with pytest.raises(ValueError, match="is no ANNPotential, but a GraphPotential"):
        ANNPotential.load(tmp_path / "made.npz")


@pytest.mark.slow
def test_streaming_and_committees_take_it(trained):
    made, _ = trained
    other = painn()
    settings = {"iterations": 3, "atomic_energies": ATOMS}
    other.train(tio2(), config(**settings, memory_limit=1e-5))
    for a, b in zip(leaves(made), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    committee = CommitteePotential.of(made)
    committee.train(tio2(), config(**settings), CommitteeConfig(2))
    assert committee.predict(tio2(2))[1].energy_std > 0
    with pytest.raises(TypeError, match="aenet has no potentials such as GraphPotential"):
        committee.to_aenet_ascii("files")


@pytest.mark.medium
def test_anything_with_init_and_apply_is_trained(tmp_path):
    springs = Springs()
    truth = GraphPotential(springs, ["Ti", "O"], dtype="float64")
    start = truth.driver(tio2(8), config(normalize_energy=False))
    with jax.enable_x64(True):
        start.state.parameters = {"k": jnp.asarray(2.5)}
    truth.take_from(start)
    found = truth.predict(tio2(8), eval_forces=True)
    labelled = [
        Structure(s.positions, s.species, energy, forces, s.cell)
        for s, energy, forces in zip(tio2(8), found.total_energy, found.forces, strict=True)
    ]
    from ritz.mlip import Adam

    made = GraphPotential(springs, ["Ti", "O"], dtype="float64")
    made.train(labelled, config(
        iterations=150, method=Adam(mu=0.05, batchsize=8), testpercent=0, normalize_energy=False,
        force_weight=0.5, schedule="cosine",
    ))  # fmt: skip
    assert made.parameters["k"] == pytest.approx(2.5, abs=1e-3)
    made.save(tmp_path / "springs.npz")
    with pytest.raises(ValueError, match="made of a Springs, which is not part of Ritz"):
        load_potential(tmp_path / "springs.npz")
    again = load_potential(tmp_path / "springs.npz", module=springs)
    assert again.parameters["k"] == made.parameters["k"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, ["O"]), TypeError, "methods init\\(key, structure\\) and apply"),
        ((PaiNN(), []), ValueError, "different chemical symbols"),
        ((PaiNN(), ["O"], -1.0), ValueError, "cutoff must be a positive number"),
        ((PaiNN(), ["O"], 4.0, "float16"), ValueError, "'float32' or 'float64'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        GraphPotential(*arguments)


def test_what_is_not_trained_says_so():
    for made in (painn(), potential()):
        with pytest.raises(RuntimeError, match="train it, or load one"):
            made.predict(tio2(1))
