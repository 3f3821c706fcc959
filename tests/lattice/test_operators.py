"""Local energies of NetKet's operators against their dense matrices."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice import local_energies
from ritz.lattice.operators import sparse_matrix, traceable

pytestmark = pytest.mark.netket

CHAIN = nk.graph.Chain(4)
SPINS = nk.hilbert.Spin(0.5, 4)
BOSONS = nk.hilbert.Fock(3, 4, n_particles=4)
FERMIONS = nk.hilbert.SpinOrbitalFermions(4, s=0.5, n_fermions_per_spin=(2, 2))

OPERATORS = {  # some are compiled when they are made
    "Ising of NumPy": lambda: nk.operator.IsingNumba(SPINS, CHAIN, h=0.7),
    "Heisenberg": lambda: nk.operator.Heisenberg(nk.hilbert.Spin(0.5, 4, total_sz=0), CHAIN),
    "Pauli strings": lambda: nk.operator.PauliStrings(SPINS, ["XXII", "IZZY"], [1.0, -0.5]),
    "local operators": lambda: sum(nk.operator.spin.sigmax(SPINS, i) for i in range(4)),
    "Bose-Hubbard": lambda: nk.operator.BoseHubbard(BOSONS, CHAIN, U=4.0),
    "Fermi-Hubbard": lambda: nk.operator.FermiHubbardJax(FERMIONS, t=1.0, U=4.0, graph=CHAIN),
}


def log_psi(variables, x):
    return (x @ variables["a"]) * (1 + 0.3j) + 0.1 * jnp.sum(x, axis=-1) ** 2


RARE = ("Pauli strings", "Bose-Hubbard")


@pytest.mark.medium
@pytest.mark.parametrize("chunk_size", [None, pytest.param(1, marks=pytest.mark.slow), 16])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in RARE else ()) for n in OPERATORS]
)
def test_local_energies(name, chunk_size):
    operator = OPERATORS[name]()
    states = jnp.asarray(operator.hilbert.all_states())
    variables = {"a": 0.1 * jnp.arange(1.0, states.shape[-1] + 1)}
    jitted = traceable(operator, operator.hilbert)
    energies = jax.jit(
        lambda o, x: local_energies(log_psi, variables, x, o, chunk_size)
    )(jitted, states)  # fmt: skip
    psi, dense = np.exp(jax.jit(log_psi)(variables, states)), operator.to_dense()
    np.testing.assert_allclose(energies, dense @ psi / psi, rtol=1e-9, atol=1e-9)
    if chunk_size is None:
        product = jax.jit(lambda matrix, psi: matrix @ psi)(sparse_matrix(jitted), psi)
        np.testing.assert_allclose(product, dense @ psi, atol=1e-12)


@pytest.mark.medium
def test_particles_in_a_trap():
    """A Gaussian is the ground state of the harmonic oscillator: 1/2 a particle, no variance."""
    hilbert = nk.experimental.hilbert.Particle(
        N=2, geometry=nk.experimental.geometry.FreeSpace(d=1)
    )
    trap = nk.operator.PotentialEnergy(hilbert, lambda x: 0.5 * jnp.sum(x**2))
    operator = traceable(nk.operator.KineticEnergy(hilbert, mass=1.0) + trap, hilbert)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((7, 2)))

    def gaussian(variables, x):
        return -0.5 * jnp.sum(x**2, axis=-1)

    np.testing.assert_allclose(local_energies(gaussian, {}, x, operator, None), 1.0, rtol=1e-12)
    np.testing.assert_allclose(local_energies(gaussian, {}, x, operator, 2), 1.0, rtol=1e-12)


def test_energies_are_refused_on_another_space():
    with pytest.raises(ValueError, match="build both on the same Hilbert space"):
        traceable(OPERATORS["Heisenberg"](), SPINS)
