"""The same minima, by the same steps, as ASE finds."""

import ase.calculators.lj
import ase.optimize
import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms, FixCartesian
from ase.filters import FrechetCellFilter

from ritz.relax import FIRE, FrechetCell, GradientDescent, LennardJones, relax
from tests.relax.systems import ARGON, cluster, lennard_jones

MINIMA = {13: -44.326801, 38: -173.928427, 55: -279.248470}
"""In units of epsilon, from the Cambridge Cluster Database."""


def relaxed_by_ase(atoms, calculator, fmax, optimizer="FIRE", variable_cell=False, **settings):
    atoms = atoms.copy()
    atoms.calc = calculator
    target = FrechetCellFilter(atoms, **settings) if variable_cell else atoms
    run = getattr(ase.optimize, optimizer)(target, logfile=None)
    assert run.run(fmax=fmax, steps=2000)
    return atoms, run.nsteps


def smooth_argon():
    return ase.calculators.lj.LennardJones(**ARGON, rc=6.0, ro=5.0, smooth=True)


def pair_distances(atoms):
    return np.sort(atoms.get_all_distances().ravel())


@pytest.mark.medium
def test_known_minima_of_clusters():
    sizes = [13, 38, 55, 13]
    given = [cluster(n, seed) for seed, n in enumerate(sizes)]

    found = relax(given, LennardJones(), fmax=1e-5)

    assert found.converged
    expected = [MINIMA[n] for n in sizes]
    np.testing.assert_allclose(found.energy, expected, rtol=0, atol=1e-6)
    free = ase.calculators.lj.LennardJones(epsilon=1, sigma=1, rc=100.0)
    for atoms, result, steps in zip(given, found.atoms, found.steps, strict=True):
        theirs, their_steps = relaxed_by_ase(atoms, free, 1e-5)
        assert steps == their_steps
        np.testing.assert_allclose(pair_distances(result), pair_distances(theirs), atol=1e-6)


@pytest.fixture(scope="module")
def strained():
    random = np.random.default_rng(3)
    structures = []
    for a in (5.0, 5.4):
        atoms = bulk("Ar", "fcc", a=a, cubic=True)
        atoms.positions += random.normal(size=(4, 3)) * 0.1
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * random.normal(size=(3, 3))),
                       scale_atoms=True)  # fmt: skip
        structures.append(atoms)
    return structures


@pytest.mark.medium
def test_crystals_with_variable_cells_take_the_steps_of_ase(strained):
    found = relax(strained, lennard_jones(), fmax=1e-4, cell=True)

    for i, atoms in enumerate(strained):
        theirs, steps = relaxed_by_ase(atoms, smooth_argon(), 1e-4, variable_cell=True)
        assert found.steps[i] == steps
        assert abs(found.energy[i] - theirs.get_potential_energy()) < 1e-9
        np.testing.assert_allclose(found.atoms[i].cell, theirs.cell, atol=1e-9)
        np.testing.assert_allclose(found.atoms[i].positions, theirs.positions, atol=1e-9)
        np.testing.assert_allclose(found.atoms[i].get_stress(), theirs.get_stress(), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"hydrostatic": True}, {"hydrostatic_strain": True}),
        ({"constant_volume": True}, {"constant_volume": True}),
        ({"pressure": 1.0}, {"scalar_pressure": units.GPa}),
        ({"mask": (1, 1, 0, 0, 0, 1)}, {"mask": [1, 1, 0, 0, 0, 1]}),
    ],
)
def test_ways_in_which_a_cell_may_move(strained, ours, theirs):
    found = relax(strained[0], lennard_jones(), fmax=1e-4, cell=FrechetCell(**ours))

    atoms, steps = relaxed_by_ase(strained[0], smooth_argon(), 1e-4, variable_cell=True, **theirs)
    # They look at stress after the derivative of the exponential, we before.
    assert abs(found.steps - steps) <= 2
    np.testing.assert_allclose(found.atoms.cell, atoms.cell, atol=2e-3)
    assert found.converged


@pytest.mark.parametrize(
    ("optimizer", "most"), [("lbfgs", 60), ("fire2", 120), (GradientDescent(rate=0.002), 200)]
)
def test_other_optimizers_find_the_minimum(optimizer, most):
    atoms = cluster(13)

    found = relax(atoms, LennardJones(), fmax=1e-4, optimizer=optimizer)

    assert found.converged
    assert abs(found.energy - MINIMA[13]) < 1e-6
    assert 5 < found.steps < most


def test_slabs_with_fixed_atoms():
    slab = fcc111("Ar", (2, 2, 4), a=5.2, vacuum=8)
    slab.pbc = [True, True, False]
    held = [atom.index for atom in slab if atom.tag > 2]
    slab.positions[:8] += np.random.default_rng(0).normal(size=(8, 3)) * 0.1
    slab.set_constraint([FixAtoms(held), FixCartesian([10], mask=[False, False, True])])
    start = slab.positions.copy()

    found = relax(slab, lennard_jones(), fmax=1e-3)

    theirs, steps = relaxed_by_ase(slab, smooth_argon(), 1e-3)
    assert found.steps == steps
    np.testing.assert_allclose(found.atoms.positions, theirs.positions, atol=1e-9)
    np.testing.assert_array_equal(found.atoms.positions[held], start[held])
    assert found.atoms.positions[10, 2] == start[10, 2]
    assert found.atoms.constraints
    np.testing.assert_array_equal(slab.positions, start)


def test_stress_can_be_a_criterion_too(strained):
    """Of what the cell can relax; the rest stays."""
    cell = FrechetCell(mask=(True, True, True, False, False, False), pressure=0.2)
    found = relax(strained[0], lennard_jones(), smax=2e-4, optimizer=FIRE(), cell=cell)

    assert found.converged
    stress = found.atoms.get_stress() / units.GPa
    assert np.abs(stress[:3] + 0.2).max() <= 2e-4
    assert np.abs(stress[3:]).max() > 2e-3
