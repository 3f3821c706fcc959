"""Ritz's Metropolis sampler: the distribution, and its place among NetKet's."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
import pytest
from scipy.special import chdtrc

from ritz.lattice import MetropolisExchange, MetropolisLocal, SweepSampler, mc_state
from tests.lattice.models import ISING, run, vmc

pytestmark = pytest.mark.netket

SPINS = nk.hilbert.Spin(0.5, 5)
BALANCED = nk.hilbert.Spin(0.5, 6, total_sz=0)
RING = nk.graph.Chain(6)
BOSONS = nk.hilbert.Fock(3, 4, n_particles=4)
FERMIONS = nk.hilbert.SpinOrbitalFermions(3, s=1 / 2, n_fermions_per_spin=(2, 1))
TWO_CHAINS = nk.graph.disjoint_union(nk.graph.Chain(3), nk.graph.Chain(3))
CASES = {
    "RBM, local update": (SPINS, nk.models.RBM(alpha=1), {}),
    "complex RBM, local update": (SPINS, nk.models.RBM(alpha=1, param_dtype=complex), {}),
    "Jastrow, local update": (SPINS, nk.models.Jastrow(), {}),
    "evaluated": (SPINS, nk.models.RBMModPhase(alpha=1), {}),
    "evaluated in chunks": (SPINS, nk.models.RBMModPhase(alpha=1), {"chunk_size": 128}),
    "exchange, local update": (BALANCED, nk.models.RBM(alpha=1), {"graph": RING}),
    "exchange, evaluated": (BALANCED, nk.models.RBMModPhase(alpha=1), {"graph": RING}),
    "bosons": (BOSONS, nk.models.RBM(alpha=1), {"graph": nk.graph.Chain(4)}),
    "spin one, exchange": (
        nk.hilbert.Spin(1, 4, total_sz=0), nk.models.RBM(alpha=1), {"graph": nk.graph.Chain(4)}
    ),
    "fermions": (FERMIONS, nk.models.RBM(alpha=1), {"graph": TWO_CHAINS}),
    "three states": (nk.hilbert.Spin(1, 3), nk.models.RBM(alpha=1), {}),
    "qubits": (nk.hilbert.Qubit(5), nk.models.RBM(alpha=1), {}),
}  # fmt: skip


def sharpened(state):
    """Parameters so large that some configurations are rare."""
    state.variables = jax.tree.map(
        lambda p: 0.3 * jax.random.normal(jax.random.key(p.size), p.shape, p.dtype),
        state.variables,
    )
    return state


OFTEN = ("bosons", "RBM, local update", "evaluated")


@pytest.mark.medium
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=() if c in OFTEN else pytest.mark.slow) for c in CASES]
)
def test_frequencies(case):
    """Frequencies of configurations in independent chains against their probabilities, by chi^2.

    Rare ones count as one. Where one has most of the probability, chains need some hundred sweeps.
    """
    hilbert, model, options = CASES[case]
    n = 4096
    state = sharpened(mc_state(model, hilbert, n_samples=n, seed=1, sampler_seed=2, **options))
    psi = np.exp(state.log_value(hilbert.all_states()))
    p = np.abs(psi) ** 2 / np.sum(np.abs(psi) ** 2)
    assert p.max() > 2 / hilbert.n_states
    state.n_discard_per_chain = 600
    state.chain_length = 2
    last = np.asarray(state.samples).reshape(n, -1, hilbert.size)[:, -1]
    seen = np.bincount(hilbert.states_to_numbers(last), minlength=hilbert.n_states)
    rare = n * p < 10
    seen, p = (np.append(x[~rare], x[rare].sum()) for x in (seen, p))
    present = p > 0
    squares = (seen - n * p)[present] ** 2 / (n * p)[present]
    assert chdtrc(present.sum() - 1, squares.sum()) > 1e-3, squares


def test_exchange_keeps_the_sum():
    state = mc_state(nk.models.RBM(alpha=1), BALANCED, n_samples=64, graph=RING)
    for _ in range(3):
        state.sample()
    assert np.all(np.asarray(state.samples).sum(axis=-1) == 0)


@pytest.mark.parametrize("model", [nk.models.RBM(alpha=1), nk.models.RBMModPhase(alpha=1)])
def test_states_and_log_probabilities_are_netkets(model):
    sampler = MetropolisLocal(SPINS, n_chains=8)
    assert isinstance(sampler, SweepSampler) and isinstance(sampler, nk.sampler.MetropolisSampler)
    variables = model.init(jax.random.key(0), jnp.ones((1, 5)))
    state = sampler.init_state(model, variables, seed=1)
    state = sampler.reset(model, variables, state=state)
    (samples, log_prob), state = sampler.sample(
        model, variables, state=state, chain_length=3, return_log_probabilities=True
    )
    assert samples.shape == (8, 3, 5) and log_prob.shape == (8, 3)
    expected = 2 * model.apply(variables, samples.reshape(-1, 5)).real
    np.testing.assert_allclose(log_prob.reshape(-1), expected, rtol=1e-10)
    np.testing.assert_allclose(state.log_prob, log_prob[:, -1], rtol=1e-10)
    assert state.n_steps == 3 * 8 * 5 and 0 < state.acceptance <= 1


def test_it_serves_netkets_driver_too():
    state = mc_state(nk.models.RBM(alpha=1), ISING.hilbert, n_samples=64, seed=1, sampler_seed=2)
    driver = nk.driver.VMC_SR(ISING, optax.sgd(0.05), variational_state=state, diag_shift=1e-2)
    driver.run(30, out=(), show_progress=False)
    exact = nk.exact.lanczos_ed(ISING)[0]
    assert driver._loss_stats.mean.real == pytest.approx(exact, rel=0.05)


def test_the_short_way_to_a_state():
    state = mc_state(nk.models.RBM(alpha=1), ISING.hilbert, n_samples=96, sweep_size=9, seed=3)
    assert state.sampler.n_chains == state.n_samples == 96
    assert state.sampler.sweep_size == 9 and state.n_discard_per_chain == 0
    log = run(vmc(state), 3)
    assert 0 < log["acceptance"].values[0] < 1


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"is constrained: .* give graph="):
        mc_state(nk.models.RBM(), BALANCED)
    with pytest.raises(TypeError, match="rule must be netket's LocalRule"):
        SweepSampler(SPINS, nk.sampler.rules.HamiltonianRule(ISING))
    with pytest.raises(TypeError, match="all sites must have the same states"):
        MetropolisLocal(SPINS * nk.hilbert.Fock(2, 2))
    weighted = nk.sampler.rules.ExchangeRule(graph=RING, probabilities=np.ones(1))
    with pytest.raises(TypeError, match="without probabilities"):
        SweepSampler(BALANCED, weighted)
    assert MetropolisExchange(BALANCED, graph=RING, n_chains=4).n_chains == 4
