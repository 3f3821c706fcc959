"""Autoregressive models, with and without fixed sums."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice import VMC, ARDirectSampler
from ritz.lattice.models import FixedSumARNN
from ritz.updates import SR
from tests.lattice.models import HILBERT, ISING, run
from tests.lattice.test_spaces import FEW

pytestmark = pytest.mark.netket

BALANCED = nk.hilbert.Spin(0.5, 4, total_sz=0)
RING = nk.graph.Chain(4)
HEISENBERG = nk.operator.Heisenberg(BALANCED, RING, sign_rule=True)
FERMIONS = nk.hilbert.SpinOrbitalFermions(3, s=0.5, n_fermions_per_spin=(1, 2))
BOSONS = nk.hilbert.Fock(2, 4, n_particles=5)


def network(hilbert):
    return nk.models.ARNNDense(hilbert=hilbert, layers=2, features=3)


MODELS = {
    "spins": FixedSumARNN(BALANCED, network(nk.hilbert.Spin(0.5, 4))),
    "fermions": FixedSumARNN(FERMIONS, network(nk.hilbert.Fock(1, 6))),
    "bosons": FixedSumARNN(BOSONS, network(nk.hilbert.Fock(2, 4))),
}


def state_of(model, n_samples=256):
    return nk.vqs.MCState(
        ARDirectSampler(model.hilbert), model, n_samples=n_samples, seed=1, sampler_seed=2
    )


@pytest.mark.medium
@pytest.mark.parametrize("name", MODELS)
def test_all_of_the_space_and_nothing_else_is_drawn(name):
    model = MODELS[name]
    state = state_of(model, 4096)
    psi = np.asarray(jax.jit(model.apply)(state.variables, model.hilbert.all_states()))
    probabilities = np.exp(2 * psi.real)
    assert np.sum(probabilities) == pytest.approx(1, abs=1e-12)
    numbers = model.hilbert.states_to_numbers(state.samples.reshape(-1, model.hilbert.size))
    seen = np.bincount(numbers, minlength=model.hilbert.n_states)
    sigma = np.sqrt(4096 * probabilities * (1 - probabilities))
    assert np.all(np.abs(seen - 4096 * probabilities) < 5 * sigma + 1)
    outside = jnp.zeros((1, model.hilbert.size), psi.dtype) + model.hilbert.local_states[0]
    assert np.isneginf(model.apply(state.variables, outside).real).all()


@pytest.mark.medium
def test_a_ground_state_with_no_magnetisation():
    state = state_of(MODELS["spins"])
    driver = VMC(HEISENBERG, 0.05, variational_state=state, update=SR(1e-2))
    data = run(driver, 40)
    assert driver.loss.mean.real == pytest.approx(-8.0, abs=1e-6)  # four sites, in Pauli matrices
    assert "acceptance" not in data and "suspect" not in data


@pytest.mark.medium
def test_a_space_without_a_constraint():
    state = nk.vqs.MCState(
        nk.sampler.ARDirectSampler(HILBERT), network(HILBERT), n_samples=256, seed=1,
        sampler_seed=2,
    )  # fmt: skip
    driver = VMC(ISING, 0.05, variational_state=state, update=SR(1e-2))
    driver.run(100, show_progress=False)
    assert driver.loss.mean.real == pytest.approx(-7.7274, abs=0.1)


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"network must be an autoregressive model"):
        FixedSumARNN(BALANCED, nk.models.RBM())
    with pytest.raises(ValueError, match="use the network itself"):
        FixedSumARNN(HILBERT, network(HILBERT))
    with pytest.raises(ValueError, match="must live on the sites of"):
        FixedSumARNN(BALANCED, network(nk.hilbert.Spin(0.5, 6)))
    for make in (ARDirectSampler, lambda h: FixedSumARNN(h, network(nk.hilbert.Spin(0.5, 4)))):
        with pytest.raises(ValueError, match="no fixed sum over sites"):
            make(FEW)


@pytest.mark.medium
def test_a_model_that_does_not_keep_the_sum_is_told():
    class Free(nk.models.ARNNDense):
        """Lives on the balanced space, but draws all configurations."""

    model = Free(hilbert=BALANCED, layers=1, features=2)
    driver = VMC(HEISENBERG, 0.1, variational_state=state_of(model, 64))
    with pytest.raises(ValueError, match="samples lie outside of Spin"):
        driver.run(1, show_progress=False)
