"""Potentials that are trained on what a baseline does not have."""

import numpy as np
import pytest

from ritz.mlip import BaselinePotential, GraphPotential, PaiNN, Structure, load_potential
from ritz.mlip.potentials.baseline import _evaluate
from ritz.potentials import ZBL, LennardJones
from tests.mlip.models.test_graph import Springs
from tests.mlip.systems import ATOMS, config, potential, random_structure, tio2

REPULSION = ZBL(["Ti", "O"], reach=1.3)


def labelled() -> Structure:
    """A periodic structure whose labels are all zero."""
    bare = random_structure(1, n=6)
    return Structure(
        bare.positions, bare.species, 0.0, np.zeros((6, 3)), bare.cell, stress=np.zeros((3, 3))
    )


def energy_of(structure: Structure) -> float:
    assert structure.energy is not None
    return structure.energy


def test_labels_less_the_baseline():
    structure = labelled()
    made = BaselinePotential(potential(), REPULSION)
    (left,) = made.remainder(structure)
    assert energy_of(left) < 0 and structure.energy == 0
    assert left.forces is not None and left.stress is not None and structure.cell is not None
    moved, step = structure.positions.copy(), 1e-5
    moved[2, 1] += step
    (other,) = made.remainder(Structure(moved, structure.species, 0.0, cell=structure.cell))
    assert other.forces is None
    assert left.forces[2, 1] == pytest.approx((energy_of(left) - energy_of(other)) / step, rel=1e-3)
    strain = np.eye(3)
    strain[0, 0] += step
    moved = Structure(structure.positions @ strain, structure.species, 0.0,
                      cell=structure.cell @ strain)  # fmt: skip
    (other,) = made.remainder(moved)
    slope = (energy_of(other) - energy_of(left)) / step / structure.volume
    assert left.stress[0, 0] == pytest.approx(slope, rel=1e-3)


def test_atoms_without_neighbours_keep_their_labels():
    alone = Structure(np.zeros((1, 3)), ["O"], -3.0)
    (left,) = BaselinePotential(potential(), REPULSION).remainder(alone)
    assert left.energy == -3.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, REPULSION), TypeError, "must be a trainable one"),
        ((GraphPotential(PaiNN(), ["O"]), 3), TypeError, "a potential is an AbstractPotential"),
        ((GraphPotential(PaiNN(), ["O"]), LennardJones()), ValueError, "a finite cutoff"),
        ((GraphPotential(PaiNN(), ["O"]), ZBL(["Ti"])), ValueError, "does not know O"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        BaselinePotential(*arguments)


@pytest.mark.medium
def test_trained_and_used(tmp_path):
    made = BaselinePotential(GraphPotential(Springs(), ["Ti", "O"], dtype="float64"), REPULSION)
    structures = tio2(8)
    out = made.train(structures, config(iterations=2, atomic_energies=ATOMS, testpercent=0))
    assert len(out.errors) > 0
    plain = made.potential.predict(structures[:2], eval_forces=True)
    found = made.predict(structures[:2], eval_forces=True)
    left = made.remainder(structures[:2])
    fixed = [energy_of(s) - energy_of(less) for s, less in zip(structures, left, strict=False)]
    np.testing.assert_allclose(found.total_energy - plain.total_energy, fixed, atol=1e-8)
    np.testing.assert_array_equal(found.reference_energy, [s.energy for s in structures[:2]])
    made.potential.save(tmp_path / "part.npz")
    again = BaselinePotential(load_potential(tmp_path / "part.npz", module=Springs()), REPULSION)
    np.testing.assert_array_equal(again.predict(structures[:2]).total_energy, found.total_energy)
    whole = _evaluate(made.frozen(), structures[0])
    assert found.forces is not None
    assert whole.energy == pytest.approx(found.total_energy[0], abs=1e-8)
    np.testing.assert_allclose(whole.forces[: len(structures[0])], found.forces[0], atol=1e-8)
    near, nearer = (Structure(np.diag([0, 0, d])[1:], ["O", "O"]) for d in (0.9, 0.6))
    assert np.isnan(_evaluate(made.frozen(), near).energy)
    close = made.frozen(close_pairs=True)
    assert _evaluate(close, nearer).energy > _evaluate(close, near).energy + 50
