"""Excited states by penalties, against exact diagonalisation."""

import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from jax.nn.initializers import normal

from ritz.lattice import VMC, MetropolisLocal
from ritz.lattice.ising import ising_chain
from ritz.updates import SR
from tests.lattice.dynamics.systems import HILBERT, ISING, full_state, mc_state, products
from tests.lattice.models import run

pytestmark = pytest.mark.netket


@pytest.mark.medium
def test_the_loss_of_a_full_sum_is_the_energy_with_penalties():
    lower, state = [full_state(seed=1), full_state(seed=2)], full_state(seed=3)
    driver = VMC(
        ISING, 0.01, variational_state=state, update=SR(1e-2), mode="holomorphic",
        orthogonal_to=lower, penalty=[2.0, 3.0],
    )  # fmt: skip
    psi, *others = (one.to_array() for one in (state, *lower))
    before = np.asarray(state.parameters["w"])
    data = run(driver, 1)
    penalties = [abs(np.vdot(other, psi)) ** 2 for other in others]
    for name, wanted in zip("01", penalties, strict=True):
        assert data["overlaps"][name]["Mean"][0] == pytest.approx(wanted, abs=1e-12)
    assert data["Energy"]["Mean"][0] == pytest.approx(state_energy(psi), abs=1e-10)
    # The step is that of a Hamiltonian with projectors.
    matrix = ISING.to_dense()
    for other, weight in zip(others, (2.0, 3.0), strict=True):
        matrix = matrix + weight * np.outer(other, other.conj())
    same = full_state(seed=3)
    np.testing.assert_array_equal(same.parameters["w"], before)
    operator = nk.operator.LocalOperator(HILBERT, np.asarray(matrix), [0, 1, 2, 3])
    plain = VMC(operator, 0.01, variational_state=same, update=SR(1e-2), mode="holomorphic")
    run(plain, 1)
    np.testing.assert_allclose(state.parameters["w"], same.parameters["w"], rtol=0, atol=1e-10)
    found, expected = driver.carry.own.control, plain.carry.control
    for name in ("loss", "deviation", "error"):  # by which the next step is judged
        assert abs(getattr(found, name) - getattr(expected, name)) < 1e-10


def state_energy(psi):
    return np.vdot(psi, ISING.to_dense() @ psi).real


@pytest.mark.medium
def test_samples_of_overlaps_agree_with_full_sums():
    lower, state = mc_state(n_samples=512, seed=1), mc_state(n_samples=512, seed=3)
    driver = VMC(
        ISING, 0.0, variational_state=state, update=SR(1e-2), mode="holomorphic",
        orthogonal_to=[lower], penalty=2.0,
    )  # fmt: skip
    data = run(driver, 10)["overlaps"]["0"]
    full = full_state(), full_state()
    for one, sampled in zip(full, (lower, state), strict=True):
        one.parameters = sampled.parameters
    wanted = abs(np.vdot(*(one.to_array() for one in full))) ** 2
    error = np.sqrt(np.mean(np.square(data["Sigma"])) / 10)
    assert abs(np.mean(data["Mean"]) - wanted) < 5 * error
    assert np.std(data["Mean"]) < 2 * np.mean(data["Sigma"])


@pytest.mark.medium
def test_steps_with_samples_are_judged_by_energy_and_penalties():
    lower, state = [mc_state(n_samples=512, seed=s) for s in (1, 2)], mc_state(n_samples=512)
    driver = VMC(
        ISING, 0.0, variational_state=state, update=SR(1e-2), mode="holomorphic",
        orthogonal_to=lower, penalty=[2.0, 20.0],
    )  # fmt: skip
    data = run(driver, 1)
    control, overlaps = driver.carry.own.control, data["overlaps"]
    parts = [weight * overlaps[name]["Mean"][0] for name, weight in (("0", 2.0), ("1", 20.0))]
    assert control.loss == pytest.approx(data["Energy"]["Mean"][0].real + sum(parts), rel=1e-10)
    assert control.error > 20 * overlaps["1"]["Sigma"][0] / 2


@pytest.mark.medium
def test_the_energy_may_rise_from_that_of_the_ground_state():
    """By many standard deviations, which are small there, while the loss falls."""
    hamiltonian = nk.operator.IsingJax(HILBERT, nk.graph.Chain(4), h=3.0)
    energies, vectors = np.linalg.eigh(hamiltonian.to_dense())
    ground, state = full_state(degree=4), full_state(degree=4)
    psi, rows = np.abs(vectors[:, 0]), np.asarray(products(HILBERT.all_states(), 4))
    rows = np.column_stack([rows, np.ones(len(rows))])
    weights = np.linalg.solve(rows, np.log(psi))[:-1]
    noise = np.random.default_rng(0).normal(size=(15, 2)) @ [1, 1j]
    for one, scale in ((ground, 0.0), (state, 0.02)):
        one.parameters = {"w": jnp.asarray(weights + scale * noise)}
    driver = VMC(
        hamiltonian, 0.01, variational_state=state, update=SR(1e-3), mode="holomorphic",
        orthogonal_to=[ground], penalty=20.0,
    )  # fmt: skip
    data = run(driver, 60)
    found = data["Energy"]["Mean"].real
    assert "suspect" not in data
    assert found[0] < energies[0] + 1.5 and max(found) > energies[1] + 0.5
    assert data["overlaps"]["0"]["Mean"][-1] < 1e-3


def rbm(seed, n_samples=None, alpha=2):
    hilbert = nk.hilbert.Spin(0.5, 8)
    init = {f"{name}_init": normal(0.2) for name in ("kernel", "hidden_bias", "visible_bias")}
    model = nk.models.RBM(alpha=alpha, param_dtype=complex, **init)
    if n_samples is None:
        return nk.vqs.FullSumState(hilbert, model, seed=seed)
    sampler = MetropolisLocal(hilbert, n_chains=n_samples, sweep_size=16)
    return nk.vqs.MCState(
        sampler, model, n_samples=n_samples, n_discard_per_chain=0, seed=seed, sampler_seed=seed
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_samples", "n_steps", "accuracy"), [(None, 500, 1e-4), (512, 200, 5e-3)]
)
def test_first_excited_states_of_an_ising_chain(n_samples, n_steps, accuracy):
    """The ground state, then the first excited one with a penalty; energies by full sums."""
    hamiltonian = ising_chain(8, 1.5)
    exact = nk.exact.lanczos_ed(hamiltonian, k=2)
    lower, summed = [], rbm(0)
    for level, energy in enumerate(exact):
        state = rbm(level + 1, n_samples)
        options = {"orthogonal_to": lower, "penalty": 5.0} if lower else {}
        driver = VMC(
            hamiltonian, 0.05, variational_state=state, update=SR(1e-3), mode="holomorphic",
            **options,
        )  # fmt: skip
        run(driver, n_steps)
        summed.parameters = state.parameters
        found = summed.expect(hamiltonian).mean.real
        assert abs(found - energy) < accuracy * abs(energy), level
        lower.append(state)


def test_wrong_arguments_say_what_is_needed():
    cases = [
        (TypeError, r"write orthogonal_to=\[state\]", full_state(), 1.0),
        (ValueError, "belong together", [full_state()], None),
        (ValueError, "belong together", [], 1.0),
        (ValueError, "one number, or one for each of 1 state, but", [full_state()], [1.0, 2.0]),
        (ValueError, "penalty must be a positive number", [full_state()], -1.0),
        (TypeError, "orthogonal_to must be of the type", [mc_state()], 1.0),
    ]
    for error, match, lower, penalty in cases:
        with pytest.raises(error, match=match):
            VMC(ISING, 0.1, variational_state=full_state(), orthogonal_to=lower, penalty=penalty)
