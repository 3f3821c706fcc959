"""Energies, forces and stress against ASE and finite differences."""

import ase.calculators.lj
import ase.calculators.morse
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from ritz.relax import FIRE, NVE, LennardJones, Morse, Potential, Relaxation, SoftSphere
from ritz.testing import check_potential
from tests.relax.systems import ARGON, argon, lennard_jones


def evaluated(atoms, model):
    """The structure, or structures, with energy, forces and stress, before they have moved."""
    stage = NVE(convergence_hook={"criteria": {"key": "stress", "threshold": np.inf}})
    driver = Relaxation(atoms, model, stage)
    driver.run(1, show_progress=False)
    return driver.state.atoms[0] if isinstance(atoms, Atoms) else driver.state.atoms


@pytest.mark.parametrize("onset", [None, 5.0])
def test_lennard_jones_is_that_of_ase(onset):
    atoms = argon(0)
    atoms.calc = ase.calculators.lj.LennardJones(
        **ARGON, rc=6.0, ro=onset or 6.0, smooth=onset is not None
    )

    found = evaluated(atoms, lennard_jones(6.0, onset))

    assert abs(found.get_potential_energy() - atoms.get_potential_energy()) < 1e-13
    np.testing.assert_allclose(found.get_forces(), atoms.get_forces(), atol=1e-13)
    np.testing.assert_allclose(found.get_stress(), atoms.get_stress(), atol=1e-15)


@pytest.mark.parametrize("reach", [(90.0, 99.0), (1.9, 2.7)])
def test_morse_is_that_of_ase(reach):
    atoms = Atoms("Cu3", [[0, 0, 0], [0.3, 0.4, 1.9], [0.1, 4.7, 0.2]])
    atoms.calc = ase.calculators.morse.MorsePotential(
        epsilon=0.7, rho0=4.0, r0=2.1, rcut1=reach[0], rcut2=reach[1]
    )
    onset, cutoff = (2.1 * ratio for ratio in reach)

    found = evaluated(atoms, Morse(0.7, 4.0 / 2.1, 2.1, cutoff=cutoff, onset=onset))

    assert onset < atoms.get_distance(0, 2) < cutoff or onset > 100
    assert abs(found.get_potential_energy() - atoms.get_potential_energy()) < 1e-12
    np.testing.assert_allclose(found.get_forces(), atoms.get_forces(), atol=1e-12)


@pytest.mark.medium
def test_soft_spheres():
    pairs = [Atoms("H2", [[0, 0, 0], [distance, 0, 0]]) for distance in (0.5, 1.5)]
    for exponent, energy, force in [(2.0, 0.5 * 0.25, 0.5), (3.0, 0.125 / 3, 0.25)]:
        near, far = evaluated(pairs, SoftSphere(exponent=exponent))
        assert abs(near.get_potential_energy() - energy) < 1e-15
        np.testing.assert_allclose(near.get_forces()[:, 0], [-force, force], atol=1e-15)
        assert far.get_potential_energy() == 0 and np.all(far.get_forces() == 0)


@pytest.mark.medium
def test_elements_mix_by_the_rules_of_lorentz_and_berthelot():
    model = LennardJones({"Ar": 0.01, "Ne": 0.04}, {"Ar": 3.0, "Ne": 2.0})
    expected = {"ArNe": (0.02, 2.5), "Ar2": (0.01, 3.0), "Ne2": (0.04, 2.0)}
    pairs = [Atoms(s, [[0, 0, 0], [0, 0, 2 ** (1 / 6) * r]]) for s, (_, r) in expected.items()]
    for pair, (depth, _) in zip(evaluated(pairs, model), expected.values(), strict=True):
        assert abs(pair.get_potential_energy() + depth) < 1e-15
    with pytest.raises(ValueError, match=r"structure 0 \(ArKr\): .* not know Kr; it knows Ne, Ar"):
        evaluated(Atoms("ArKr", [[0, 0, 0], [0, 0, 3.0]]), model)


def angular(params, structure):
    """A three-body energy."""
    near = jnp.where(structure.pairs, jnp.exp(-structure.squared_distances()), 0)
    pulls = jnp.sum(near[..., None] * structure.vectors, axis=1)
    return params["a"] * jnp.sum(pulls**2)


@pytest.mark.slow
def test_any_function_has_right_forces_and_stress():
    check_potential(Potential(angular, {"a": 0.7}, cutoff=3.0), argon(1, a=3.0))


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (lambda p, s: jax.lax.stop_gradient(angular(p, s)), "forces are not the derivative"),
        (lambda p, s: angular(p, s) + jnp.sum(s.positions**2), "moving all atoms"),
        (lambda p, s: angular(p, s) + jnp.sum(s.positions[0] ** 2), "the order of atoms"),
        (lambda p, s: angular(p, s) + len(s.mask), "empty places"),
        (lambda p, s: angular(p, s) + jax.lax.stop_gradient(s.cell[1, 1]), "stress is not"),
        (lambda p, s: angular(p, s) * jnp.nan, "not finite"),
    ],
)
@pytest.mark.slow
def test_the_check_finds_what_is_wrong(energy, message):
    with pytest.raises(AssertionError, match=message):
        check_potential(Potential(energy, {"a": 0.7}, cutoff=3.0), argon(1, a=3.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [lennard_jones(), LennardJones({"Ar": 0.01}, {"Ar": 3.4}, cutoff=6.0, onset=4.0),
     Morse(0.1, 1.5, 3.8, cutoff=7.0, onset=5.0), SoftSphere(1.0, 4.5, 2.5)],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_conformance(model):
    check_potential(model, argon(2))


@pytest.mark.medium
def test_a_potential_of_positions_alone():
    bowl = Potential(lambda k, s: 0.5 * k * jnp.sum(s.positions**2), 2.0)
    atoms = Atoms("H2", [[1, 0, 0], [0, 2, 0]])

    driver = Relaxation([atoms, atoms[:1]], bowl, FIRE())
    driver.run(500, show_progress=False)

    assert driver.state.status.tolist() == [1, 1]
    assert np.abs(driver.state.atoms[0].positions).max() < 0.03


def test_wrong_arguments_are_refused():
    for wrong, message in [
        (lambda: LennardJones(epsilon=-1), "epsilon must be a positive number"),
        (lambda: LennardJones(sigma={"Xx1": 1.0}), "no chemical element"),
        (lambda: LennardJones(cutoff=3.0, onset=4.0), "onset must lie between"),
        (lambda: LennardJones(onset=4.0), "onset needs a cutoff"),
        (lambda: SoftSphere(exponent=1.5), "at least 2"),
        (lambda: Potential(angular, cutoff=-1), "cutoff must be above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(TypeError, match="takes a function"):
        Potential(3)  # type: ignore[arg-type]


def test_a_cutoff_is_a_number():
    with pytest.raises(TypeError, match="cutoff must be a number, but '5' was given"):
        Potential(angular, {}, cutoff="5")  # type: ignore[arg-type]


def test_a_function_of_the_parameters_alone_is_refused():
    def spring(params):
        return 0.5 * params

    with pytest.raises(TypeError, match=r"spring of a potential takes .params., but must take .p"):
        Potential(spring)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: jnp.sum(s.mask), "spring of a potential returned a number of type int"),
        (lambda s: s.positions[:, 0], r"spring of a potential returned an array of shape \("),
        (lambda s: None, "spring of a potential returned an object of type NoneType, but must"),
    ],
)
def test_what_is_no_energy_is_refused(answer, message):
    def spring(params, structure):
        return answer(structure)

    with pytest.raises(TypeError, match=message):
        Relaxation([Atoms("H2", [[1, 0, 0], [0, 2, 0]])], Potential(spring), FIRE()).run(
            1, show_progress=False
        )
