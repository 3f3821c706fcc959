"""Estimators of any kind on lattices: beside operators, in steps, evaluations and full sums."""

import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.estimators import AbstractEstimator
from ritz.lattice import Evaluation
from ritz.loggers import RuntimeLog
from tests.lattice.models import HILBERT, ISING, N_SITES, full_state, mc_state, run, vmc

pytestmark = pytest.mark.netket


class Shifted(AbstractEstimator):
    """The local energy plus that of another operator: it uses the values of both."""

    uses = ("Energy", "other")

    def evaluate(self, log_psi, params, samples, values):
        return values["Energy"] + values["other"]


class Amplitudes(AbstractEstimator):
    """An array for each sample, with statistics of its own."""

    def evaluate(self, log_psi, params, samples, values):
        return jnp.stack([jnp.real(log_psi(params, samples)), samples[:, 0]], axis=-1)

    def reduce(self, values, weights=None):
        weights = 1 / len(values) if weights is None else weights[:, None]
        return jnp.sum(weights * values, axis=0)


@pytest.mark.medium
@pytest.mark.parametrize("fullsum", [False, True])
def test_estimators_are_observables(fullsum):
    observables = {
        "sum": Shifted(),
        "other": ISING,
        "squares": lambda params, x: jnp.sum(x) ** 2,
        "amplitudes": Amplitudes(),
    }
    state = full_state() if fullsum else mc_state()
    data = run(vmc(state, observables=observables), 2)
    np.testing.assert_allclose(data["sum"]["Mean"], 2 * data["Energy"]["Mean"], rtol=1e-10)
    assert data["amplitudes"]["value"].shape == (2, 2)
    if not fullsum:
        assert "R_hat" in data["squares"]
    total = sum(nk.operator.spin.sigmaz(ISING.hilbert, k) for k in range(ISING.hilbert.size))
    driver = vmc(full_state())
    squares = driver.estimate(observables["squares"], fullsum=True)
    expected = driver.estimate(total @ total, fullsum=True)
    np.testing.assert_allclose(squares.mean, expected.mean.real, rtol=1e-10)


def test_estimators_that_lack_what_they_use_are_refused():
    with pytest.raises(ValueError, match="uses the values of 'other', which is not estimated"):
        vmc(observables={"sum": Shifted()})


def test_evaluations_know_the_chains_of_estimators():
    state = nk.vqs.MCState(
        nk.sampler.MetropolisLocal(HILBERT, n_chains=8), nk.models.RBM(), n_samples=64, seed=1
    )
    observables = {
        "flip": nk.operator.spin.sigmax(HILBERT, 0),
        "m": lambda params, x: x.mean(),
        "all": lambda params, x: x,
    }
    driver = Evaluation(ISING, variational_state=state, observables=observables)
    log = RuntimeLog()
    driver.run(3, out=log, show_progress=False)
    moments = driver.chain_moments
    assert set(moments) == {"Energy", "flip", "m"}
    assert moments["m"].count == 24 and moments["m"].mean.shape == (8,)
    np.testing.assert_allclose(np.mean(moments["m"].mean), np.mean(log["m"]["Mean"]), atol=1e-12)
    assert log["all"]["Mean"].shape == (3, N_SITES)


def test_single_estimates_of_operators_need_no_jax_form(monkeypatch):
    driver = vmc()
    expected = driver.estimate(ISING).mean

    def refuse(*_):
        raise TypeError("no JAX form")

    monkeypatch.setattr("ritz.lattice.observables.estimators.traceable", refuse)
    assert driver.estimate(ISING).mean == expected
