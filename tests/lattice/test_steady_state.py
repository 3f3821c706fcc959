"""Steady states of dissipative Ising models against the kernel of the Lindbladian."""

import netket as nk
import numpy as np
import pytest

from ritz.lattice import VMC, SteadyState, mc_state
from ritz.lattice.steady_state import squared, superoperator
from ritz.updates import SR, StepControl
from tests.lattice.exact import dense
from tests.lattice.models import run

pytestmark = pytest.mark.netket

SPINS = nk.hilbert.Spin(0.5, 2)
X, Y, Z = (
    [getattr(nk.operator.spin, name)(SPINS, i) for i in range(2)]
    for name in ("sigmax", "sigmay", "sigmaz")
)
DECAY = [nk.operator.spin.sigmam(SPINS, i) for i in range(2)]
LINDBLADIAN = nk.operator.LocalLiouvillian(0.5 * Z[0] @ Z[1] + 0.6 * (X[0] + X[1]), DECAY)
MAGNETISATION = (Z[0] + Z[1]) * 0.5


PAULI = {
    "x": np.array([[0, 1], [1, 0]]),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.diag([1, -1]),
    "-": np.array([[0, 0], [1, 0]]),
    "1": np.eye(2),
}


def word(letters):
    """A product of one matrix for each of the two spins, the first state of which is up."""
    return np.kron(*(PAULI[letter] for letter in letters))


def matrix_of(hamiltonian, jumps):
    """A Lindbladian on vectors with elements rho(x, y), y the faster index."""
    one = np.eye(4)
    effective = hamiltonian - 0.5j * sum(jump.conj().T @ jump for jump in jumps)
    whole = -1j * np.kron(effective, one) + 1j * np.kron(one, effective.conj())
    return whole + sum(np.kron(jump, jump.conj()) for jump in jumps)


MATRIX = matrix_of(0.5 * word("zz") + 0.6 * (word("x1") + word("1x")), [word("-1"), word("1-")])
MEAN = (word("z1") + word("1z")) / 2


def exact():
    """The density matrix that the Lindbladian takes to zero."""
    _, sizes, vectors = np.linalg.svd(MATRIX)
    assert sizes[-1] < 1e-12 < sizes[-2]
    matrix = vectors[-1].conj().reshape(4, 4)
    return matrix / np.trace(matrix)


def test_the_superoperator_is_that_of_its_operators():
    whole = nk.operator.LocalLiouvillian(
        0.5 * Z[0] @ Z[1] + 0.3 * X[0] + 0.2 * Y[1] + 1.5, [DECAY[0] + 0.5j * Z[1], Y[0] @ DECAY[1]]
    )
    hamiltonian = 0.5 * word("zz") + 0.3 * word("x1") + 0.2 * word("1y") + 1.5 * np.eye(4)
    jumps = [word("-1") + 0.5j * word("1z"), word("y-")]
    expected = matrix_of(hamiltonian, jumps)
    np.testing.assert_allclose(dense(superoperator(whole)), expected, atol=1e-12)
    product = expected.conj().T @ expected
    np.testing.assert_allclose(dense(squared(whole)), product, atol=1e-12)


@pytest.mark.medium
def test_the_steady_state_by_full_sums():
    state = nk.vqs.FullSumState(LINDBLADIAN.hilbert, nk.models.NDM(alpha=1, beta=2), seed=1)
    driver = SteadyState(LINDBLADIAN, 0.05, variational_state=state, update=SR(1e-3))
    data = run(driver, 300, obs={"mz": MAGNETISATION}, step_size=299)
    found, expected = driver.density_matrix(), exact()
    assert 0 <= driver.loss.mean.real < 1e-4 and "v_score" not in data
    assert np.linalg.norm(found - expected) < 0.02
    assert np.linalg.eigvalsh(found)[0] > 0
    mz = np.trace(MEAN @ expected).real
    assert data["mz"]["Mean"][-1].real == pytest.approx(mz, abs=0.02)


@pytest.mark.medium
def test_the_steady_state_by_sampling():
    sampler = nk.sampler.MetropolisLocal(LINDBLADIAN.hilbert, n_chains=64)
    state = nk.vqs.MCMixedState(
        sampler, nk.models.NDM(alpha=1, beta=2), n_samples=512, n_samples_diag=512, seed=1,
        sampler_seed=2, n_discard_per_chain=4,
    )  # fmt: skip
    driver = SteadyState(LINDBLADIAN, 0.05, variational_state=state, update=SR(1e-3))
    first = run(driver, 1)["LdagL"]
    data = run(driver, 300, obs={"mz": MAGNETISATION}, step_size=299)
    assert first["Mean"][0].real > 0.1 > 10 * driver.loss.mean.real
    assert np.linalg.norm(driver.density_matrix() - exact()) < 0.05
    assert np.isfinite(data["acceptance"]).all()
    sampled, error = data["mz"]["Mean"][-1].real, data["mz"]["Sigma"][-1]
    summed = driver.estimate({"mz": MAGNETISATION}, fullsum=True)["mz"].mean.real
    assert abs(sampled - summed) < 5 * error + 0.05


@pytest.mark.medium
def test_samples_estimate_the_full_sum():
    """<L^+ L> of fixed parameters."""
    model = nk.models.NDM()
    sampler = nk.sampler.MetropolisLocal(LINDBLADIAN.hilbert, n_chains=256)
    state = nk.vqs.MCMixedState(sampler, model, n_samples=4096, seed=1, sampler_seed=2)
    sampled = run(SteadyState(LINDBLADIAN, 0.0, variational_state=state), 1)["LdagL"]
    full = nk.vqs.FullSumState(LINDBLADIAN.hilbert, model, variables=state.variables)
    summed = run(SteadyState(LINDBLADIAN, 0.0, variational_state=full), 1)["LdagL"]
    assert abs(sampled["Mean"][0] - summed["Mean"][0]) < 5 * sampled["Sigma"][0]
    rho = np.asarray(full.to_array())
    assert summed["Mean"][0] == pytest.approx(np.linalg.norm(MATRIX @ rho) ** 2, rel=1e-10)


@pytest.mark.medium
def test_steps_are_controlled_as_given():
    state = nk.vqs.FullSumState(LINDBLADIAN.hilbert, nk.models.NDM(), seed=1)
    for control in (StepControl(max_infidelity=0.01), None):
        driver = SteadyState(LINDBLADIAN, 1.0, variational_state=state, step_control=control)
        assert driver.step_control is driver.kernel.settings.control is control
    assert SteadyState(LINDBLADIAN, 1.0, variational_state=state).step_control == StepControl()


@pytest.mark.medium
def test_what_is_refused():
    mixed = nk.vqs.MCMixedState(
        nk.sampler.MetropolisLocal(LINDBLADIAN.hilbert, n_chains=4), nk.models.NDM(), n_samples=4
    )
    ising = nk.operator.IsingJax(SPINS, nk.graph.Chain(2, pbc=False), h=1.0)
    with pytest.raises(
        TypeError, match=r"a density matrix, was given.*use ritz.lattice.SteadyState"
    ):
        VMC(ising, 0.1, variational_state=mixed)
    pure = mc_state(nk.models.RBM(), SPINS, n_samples=4)
    with pytest.raises(TypeError, match=r"must be a netket.vqs.MCMixedState, or a FullSumState"):
        SteadyState(LINDBLADIAN, 0.1, variational_state=pure)
    single = nk.vqs.FullSumState(SPINS, nk.models.RBM())
    with pytest.raises(ValueError, match=r"lives on lindbladian.hilbert, a DoubledHilbert"):
        SteadyState(LINDBLADIAN, 0.1, variational_state=single)
    with pytest.raises(TypeError, match=r"must be a netket.operator.LocalLiouvillian"):
        SteadyState(ising, 0.1, variational_state=mixed)
    driver = SteadyState(LINDBLADIAN, 0.1, variational_state=mixed)
    other = nk.operator.spin.sigmaz(nk.hilbert.Spin(0.5, 3), 0)
    with pytest.raises(ValueError, match="build both on the same Hilbert space"):
        driver.run(1, obs={"z": other}, show_progress=False)
