"""A small chain, its exact evolution, and states that share their compiled functions."""

import flax.linen as nn
import jax.numpy as jnp
import netket as nk
import numpy as np

from ritz.lattice import TDVP, MetropolisLocal
from ritz.updates import Cholesky

N_SITES = 4
HILBERT = nk.hilbert.Spin(0.5, N_SITES)
ISING = nk.operator.IsingJax(HILBERT, nk.graph.Chain(N_SITES), h=0.7)
MX = sum(nk.operator.spin.sigmax(HILBERT, i) for i in range(N_SITES)).to_jax_operator()
SHIFT = 1e-3


def products(x, degree):
    """The products of the spins in each set of at most `degree` sites, one column a set."""
    n = x.shape[-1]
    members = np.array([[bool(m >> i & 1) for i in range(n)] for m in range(1, 2**n)])
    members = members[members.sum(axis=1) <= degree]
    return jnp.prod(jnp.where(members, x[..., None, :], 1.0), axis=-1)


class Correlations(nn.Module):
    """log psi is a linear combination of products of spins; of all of them it is any log psi."""

    degree: int = 2
    scale: float = 0.1
    dtype: type = complex

    @nn.compact
    def __call__(self, x):
        rows = products(x, self.degree)
        normal = nn.initializers.normal(self.scale)
        return rows @ self.param("w", normal, rows.shape[-1:], self.dtype)


def full_state(degree=2, scale=0.1, seed=1, dtype=complex):
    return nk.vqs.FullSumState(HILBERT, Correlations(degree, scale, dtype), seed=seed)


SAMPLER = MetropolisLocal(HILBERT, n_chains=32)


def mc_state(degree=2, scale=0.1, n_samples=64, seed=1):
    return nk.vqs.MCState(
        SAMPLER, Correlations(degree, scale), n_samples=n_samples, seed=seed, sampler_seed=2
    )


def tdvp(state=None, **options):
    """A driver whose equation is smooth, as its solver has no cutoff."""
    options = {"solver": Cholesky(), "diag_shift": SHIFT, "mode": "holomorphic", **options}
    return TDVP(ISING, state or full_state(), **options)


def evolved(psi, t, hamiltonian=ISING):
    """exp(-i H t) psi."""
    values, vectors = np.linalg.eigh(hamiltonian.to_dense())
    return vectors @ (np.exp(-1j * values * t) * (vectors.conj().T @ psi))


def mean_of(operator, psi):
    """The expectation value in psi, which need not be normalised."""
    return np.vdot(psi, operator.to_dense() @ psi).real / np.vdot(psi, psi).real


def infidelity(a, b):
    return 1 - abs(np.vdot(a, b)) ** 2 / (np.vdot(a, a).real * np.vdot(b, b).real)
