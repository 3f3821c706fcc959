"""Energies against exact ones, at reduced size."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice import VMC
from ritz.lattice.ising import ising_chain, ising_chain_energy
from ritz.updates import KFAC, MARCH, SPRING, SR, Gradient, MinSR
from tests.lattice.models import HILBERT, ISING, MODELS, N_SITES, full_state, run, vmc

pytestmark = pytest.mark.netket


@pytest.mark.medium
@pytest.mark.parametrize(
    ("rule", "rate"),
    [
        (SR(1e-3), 0.05),
        (MinSR(1e-3), 0.05),
        (SPRING(1e-3, 0.9), 0.02),
        (MARCH(1e-2, 0.8), 0.02),
        (KFAC(1e-3), 0.05),
    ],
    ids=["SR", "MinSR", "SPRING", "MARCH", "KFAC"],
)
def test_ising_chain_to_its_exact_energy(rule, rate):
    hamiltonian = ising_chain(8, 1.0)
    state = full_state(hilbert=hamiltonian.hilbert)
    driver = VMC(hamiltonian, rate, variational_state=state, update=rule)
    driver.run(300, show_progress=False)
    exact = ising_chain_energy(8, 1.0)
    assert exact == pytest.approx(-10.251661790966, abs=1e-11)
    error = (driver.loss.mean.real - exact) / abs(exact)
    assert -1e-12 < error < 2e-3


def test_ising_formula_against_exact_diagonalisation():
    for field in (0.5, 1.3):
        energy = nk.exact.lanczos_ed(ising_chain(8, field))[0]
        assert ising_chain_energy(8, field) == pytest.approx(energy, abs=1e-9)


@pytest.mark.medium
def test_monte_carlo_reaches_the_exact_energy():
    hamiltonian = ising_chain(8, 1.0)
    sampler = nk.sampler.MetropolisLocal(hamiltonian.hilbert, n_chains=16)
    state = nk.vqs.MCState(sampler, MODELS["real"], n_samples=512, seed=0, sampler_seed=1)
    VMC(hamiltonian, 0.05, variational_state=state, update=SR(1e-3)).run(200, show_progress=False)
    # Frozen parameters by full summation: variational, and close.
    exact, full = ising_chain_energy(8, 1.0), full_state(hilbert=hamiltonian.hilbert)
    full.parameters = state.parameters
    error = (full.expect(hamiltonian).mean.real - exact) / abs(exact)
    assert -1e-12 < error < 2e-3
    # And fresh samples agree with that within their own error bar.
    state.n_samples = 8192
    stats = state.sample() is not None and state.expect(hamiltonian)
    assert abs(stats.mean - full.expect(hamiltonian).mean) < 5 * stats.error_of_mean


@pytest.mark.slow
def test_heisenberg_in_a_sector_with_a_symmetric_sampler():
    graph = nk.graph.Chain(8)
    hilbert = nk.hilbert.Spin(0.5, 8, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, sign_rule=True)  # not a JAX operator
    sampler = nk.sampler.MetropolisExchange(hilbert, graph=graph, n_chains=16)
    state = nk.vqs.MCState(sampler, MODELS["real"], n_samples=256, seed=0, sampler_seed=1)
    driver = VMC(hamiltonian, 0.02, variational_state=state, update=SR(1e-1))
    driver.run(200, show_progress=False)
    full = full_state(hilbert=hilbert)
    full.parameters = state.parameters
    energy = full.expect(hamiltonian).mean.real
    assert 0 < (energy + 14.604373635749) / 14.604373635749 < 5e-3


@pytest.mark.medium
@pytest.mark.parametrize("rule", [Gradient(), SR(1e-2)], ids=["Gradient", "SR"])
def test_nodes_of_a_full_sum_have_no_weight(rule):
    """Where psi is zero, log psi and its derivatives do not exist, and nothing is poisoned."""

    def log_psi(variables, x):
        return jnp.log(jnp.abs(x @ variables["params"]["a"]))

    state = nk.vqs.FullSumState(
        HILBERT, apply_fun=log_psi, variables={"params": {"a": jnp.ones(N_SITES)}}
    )
    data = run(vmc(state, rule), 1)
    assert np.all(np.isfinite(jax.tree.leaves(state.parameters)[0]))
    psi = np.abs(np.asarray(HILBERT.all_states()).sum(axis=1)).astype(float)
    matrix = ISING.to_dense()
    expected = psi @ matrix @ psi / (psi @ psi)
    np.testing.assert_allclose(data["Energy"]["Mean"], [expected], rtol=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize(
    "sampler",
    [
        nk.sampler.ExactSampler(HILBERT),
        nk.sampler.MetropolisLocalNumpy(HILBERT, n_chains=16),
        nk.sampler.MetropolisLocal(HILBERT, n_chains=16),
        pytest.param(
            nk.sampler.ParallelTemperingSampler(
                HILBERT, rule=nk.sampler.rules.LocalRule(), n_chains=16, n_replicas=4
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_samplers_give_the_exact_energy_within_its_error(sampler):
    """Compiled, and as NetKet samples where it cannot be."""
    state = nk.vqs.MCState(sampler, MODELS["real"], n_samples=2048, seed=0, sampler_seed=1)
    full = full_state()
    full.parameters = state.parameters
    data = run(vmc(state), 2)
    energy, error = data["Energy"]["Mean"][0], data["Energy"]["Sigma"][0]
    assert abs(energy - full.expect(ISING).mean) < 5 * error
    assert ("acceptance" in data) == ("Exact" not in type(sampler).__name__)


@pytest.mark.slow
def test_the_published_accuracy_at_full_size():
    """The critical chain of 20 spins, as `make bench-accuracy` measures it."""
    from benchmarks.accuracy import measure

    _, energy, exact, error, target, met, *_ = measure("TFIM chain 20, h = 1, RBM alpha = 1")
    assert exact == pytest.approx(-25.490989686365, abs=1e-9)
    assert energy > exact and met and error <= target == 1e-4
