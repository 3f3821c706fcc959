"""Variances, connected correlations and Renyi entropies, against exact ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from scipy.linalg import eigh

from ritz.lattice import ConnectedCorrelator, Evaluation, Renyi2, Variance, mc_state
from tests.lattice.models import HILBERT, ISING, N_SITES, full_state, run, vmc

pytestmark = pytest.mark.netket

SX = [nk.operator.spin.sigmax(HILBERT, k) for k in range(2)]
SITES = [0, 2, 3]
OBSERVABLES = {
    "variance": Variance(ISING),
    "through": Variance(ISING, through_square=True),
    "together": ConnectedCorrelator(*SX),
    "entropy": Renyi2(SITES),
    "bits": nk.observable.Renyi2EntanglementEntropy(HILBERT, np.array(SITES)),
    "theirs": nk.observable.VarianceObservable(ISING, use_Oloc_squared=True),
    "connected": nk.observable.ConnectedCorrelator(*SX),
}


class Amplitudes(nn.Module):
    """A table of log psi of given amplitudes."""

    hilbert: nk.hilbert.DiscreteHilbert
    values: tuple[complex, ...]

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones, (), float)
        log_psi = jnp.log(jnp.asarray(self.values))[self.hilbert.states_to_numbers(x)]
        return jax.lax.complex(scale * jnp.real(log_psi), jnp.imag(log_psi))


def exact_entropy(psi, sites, base=np.e):
    """From the singular values of psi as a matrix."""
    tensor = psi.reshape((2,) * N_SITES)
    rest = [k for k in range(N_SITES) if k not in sites]
    matrix = tensor.transpose(*sites, *rest).reshape(2 ** len(sites), -1)
    p = np.linalg.svd(matrix, compute_uv=False) ** 2
    return -np.log(np.sum(p**2)) / np.log(base)


def exact_values(psi):
    h, (a, b) = ISING.to_dense(), [one.to_dense() for one in SX]
    mean = lambda matrix: np.vdot(psi, matrix @ psi).real  # noqa: E731
    variance = mean(h @ h) - mean(h) ** 2
    together = mean(a @ b) - mean(a) * mean(b)
    return {
        "variance": variance, "through": variance, "theirs": variance, "together": together,
        "connected": together, "entropy": exact_entropy(psi, SITES),
        "bits": exact_entropy(psi, SITES, 2),
    }  # fmt: skip


def states(machine_pow=2.0, n_samples=64):
    model = nk.models.RBM(alpha=1, param_dtype=complex, kernel_init=jax.nn.initializers.normal(0.3))
    full = nk.vqs.FullSumState(HILBERT, model, seed=3)
    state = mc_state(
        model, HILBERT, n_samples=n_samples, machine_pow=machine_pow, seed=3, sampler_seed=4
    )
    state.parameters = full.parameters
    return state, full


@pytest.mark.medium
def test_full_sums_of_functionals_are_exact():
    _, full = states()
    expected = exact_values(np.asarray(full.to_array()))
    driver = vmc(full, observables=OBSERVABLES)
    again = ("entropy", "connected")
    data = run(driver, 1, obs={f"{name}_obs": OBSERVABLES[name] for name in again})
    for name, value in expected.items():
        np.testing.assert_allclose(data[name]["Mean"], [value], rtol=1e-8, atol=1e-12)
        assert data[name]["Sigma"][0] == 0
    for name in again:
        np.testing.assert_allclose(data[f"{name}_obs"]["Mean"], [expected[name]], rtol=1e-8)


@pytest.mark.medium
@pytest.mark.parametrize("machine_pow", [2.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_functionals_of_samples_agree_with_exact_ones(machine_pow):
    """Over many steps: without bias, and with the error bars that they say."""
    state, full = states(machine_pow, 256)
    expected = exact_values(np.asarray(full.to_array()))
    names = ["variance", "through", "together", "entropy"]
    observables = {name: OBSERVABLES[name] for name in names}
    driver = Evaluation(ISING, variational_state=state, observables=observables)
    driver.burn_in(20)
    data = run(driver, 60)
    for name in names:
        value = expected[name]
        means, errors = (np.asarray(data[name][key]) for key in ("Mean", "Sigma"))
        spread = np.std(means)
        assert abs(np.mean(means) - value) < 4 * spread / np.sqrt(len(means)), name
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(spread, rel=0.25), name
    moments = driver.chain_moments
    assert len(moments["entropy"].mean) == 128 and len(moments["variance"].mean) == 256
    estimate = driver.estimate(OBSERVABLES)
    for name, value in expected.items():
        assert abs(estimate[name].mean - value) < 5 * estimate[name].error_of_mean, name
    assert estimate["bits"].mean * np.log(2) == pytest.approx(estimate["entropy"].mean)
    assert estimate["theirs"].mean == pytest.approx(estimate["variance"].mean)


@pytest.mark.medium
def test_a_square_is_right_where_psi_vanishes():
    """Local values of samples miss what the operator puts where psi is zero."""
    rng = np.random.default_rng(0)
    psi = rng.uniform(0.9, 1, HILBERT.n_states) * (np.asarray(HILBERT.all_states())[:, 0] > 0)
    psi /= np.linalg.norm(psi)
    model = Amplitudes(HILBERT, tuple(psi))
    state = mc_state(model, HILBERT, n_samples=2048, sampler_seed=1)
    product = ISING.to_sparse() @ psi
    expected, missing = exact_values(psi)["variance"], np.sum(np.abs(product[psi == 0]) ** 2)
    driver = Evaluation(ISING, variational_state=state)
    driver.burn_in(20)
    right = driver.estimate(Variance(ISING, through_square=True))
    wrong = driver.estimate(Variance(ISING))
    assert abs(right.mean - expected) < 4 * right.error_of_mean
    assert abs(wrong.mean - (expected - missing)) < 4 * wrong.error_of_mean
    assert expected - wrong.mean > 5 * wrong.error_of_mean


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore::UserWarning")  # NetKet's, about a faster operator
@pytest.mark.parametrize("sites", [(0, 1, 2), (0, 2, 5)])
def test_the_entropy_of_free_fermions(sites):
    """From the correlation matrix of a Slater determinant, also of modes that are apart."""
    hilbert = nk.hilbert.SpinOrbitalFermions(N_SITES, n_fermions=3)
    rng = np.random.default_rng(1)
    hopping = rng.normal(size=(N_SITES, N_SITES))
    orbitals = eigh(hopping + hopping.T)[1][:, :3]
    occupied = np.asarray(hilbert.all_states()) > 0.5
    psi = np.array([np.linalg.det(orbitals[row]) for row in occupied])
    psi /= np.linalg.norm(psi)
    filled = np.linalg.eigvalsh((orbitals @ orbitals.T)[np.ix_(sites, sites)])
    expected = -np.sum(np.log(filled**2 + (1 - filled) ** 2))
    hamiltonian = nk.operator.fermion.number(hilbert, 0)
    full = nk.vqs.FullSumState(hilbert, Amplitudes(hilbert, tuple(psi.astype(complex))))
    exact = Evaluation(hamiltonian, variational_state=full).estimate(Renyi2(sites))
    assert exact.mean == pytest.approx(expected, abs=1e-10)
    state = nk.vqs.MCState(nk.sampler.ExactSampler(hilbert), full.model, n_samples=8192, seed=1)
    found = Evaluation(hamiltonian, variational_state=state).estimate(Renyi2(sites))
    assert abs(found.mean - expected) < 4 * found.error_of_mean < 0.2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Renyi2([]), ValueError, r"numbers of different sites, such as \[0, 1, 2\]"),
        (lambda: Renyi2([0, 0]), ValueError, "numbers of different sites"),
        (lambda: Renyi2([0.5]), ValueError, "numbers of different sites"),
        (lambda: Renyi2([0], base=1), ValueError, "base must be a number above 1, but 1"),
        (lambda: Renyi2([6]), ValueError, r"of the sites 0 to 5, but \[6\] was given"),
        (lambda: Renyi2(range(6)), ValueError, "takes some, but not all, of the sites"),
        (lambda: Variance(3), TypeError, "operators of NetKet are taken, but 3 was given"),
        (
            lambda: nk.observable.VScore(ISING, trace_diagonal=0.0),
            TypeError,
            "V-score .* is in each row, as v_score",
        ),
        (
            lambda: nk.observable.InfidelityOperator(full_state()),
            TypeError,
            "InfidelityOperator is no operator, .* give it to `obs` of `run`",
        ),
    ],
)
def test_what_cannot_be_estimated_in_steps_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        vmc(full_state(), observables={"it": make()})
