"""Orbitals of excited configurations, and pretraining on them."""

import jax
import numpy as np
import pytest

from ritz.loggers import RuntimeLog
from ritz.molecule import (
    FermiNet,
    LogPsi,
    Molecule,
    Pretraining,
    SpinSquared,
    excited_orbitals,
)


def test_states_that_cannot_begin_are_told():
    helium = Molecule("He")
    with pytest.raises(ValueError, match="too few for n_states=4; give a larger basis"):
        excited_orbitals(helium, 4, "6-31g")
    excited = excited_orbitals(helium, 2, "6-31g")[1]
    with pytest.raises(ValueError, match="network has 1; give it n_determinants=2"):
        Pretraining(helium, FermiNet(helium, n_determinants=1), excited)
    with pytest.raises(ValueError, match="n_states must be a whole number of at least 1"):
        excited_orbitals(helium, 0)


@pytest.mark.medium
def test_configurations_are_singlets_and_triplets_in_order():
    """Of beryllium: the ground state, three components of 3P, and of 1P."""
    x = jax.random.normal(jax.random.key(1), (3, 4, 3))
    found = excited_orbitals(Molecule("Be"), 7, "slater")
    with jax.enable_x64(True):
        spins = [
            SpinSquared(2, 2).evaluate(LogPsi(lambda p, x, o=o: o.sign_and_log(x)), {}, x, {})
            for o in found[::3]
        ]
    np.testing.assert_allclose(spins, np.repeat([[0], [2], [0]], 3, axis=1), atol=1e-8)
    singlets = excited_orbitals(Molecule("Be"), 7, "slater", same_spin=True)
    np.testing.assert_array_equal(singlets[1].up, found[4].up)
    # An open shell has excitations of one spin each: 2s -> 2p of lithium, with spin up.
    lithium = excited_orbitals(Molecule("Li"), 2, "slater")
    assert lithium[1].up.shape == lithium[0].up.shape
    np.testing.assert_array_equal(lithium[1].down, lithium[0].down)
    assert not np.array_equal(lithium[1].up, lithium[0].up)


@pytest.mark.medium
def test_pretraining_brings_determinants_in_turns_to_those_of_a_triplet():
    molecule = Molecule("H2")
    network = FermiNet(molecule, hidden=((8, 4),), n_determinants=2)
    triplet = excited_orbitals(molecule, 2)[1]
    driver = Pretraining(molecule, network, triplet, n_walkers=64)
    driver.burn_in(20)
    log = RuntimeLog()
    driver.run(150, out=log, show_progress=False)
    losses = log["loss"].values
    assert np.mean(losses[-10:]) < 0.1 * losses[0]
    x = driver.state.electrons
    with jax.enable_x64(True):
        spin = SpinSquared(1, 1).evaluate(driver.state.wavefunction, driver.parameters, x, {})
    assert np.median(spin) == pytest.approx(2, abs=0.1)
