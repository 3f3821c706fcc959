"""Infidelities, their gradients and their errors against full sums."""

import jax
import netket as nk
import numpy as np
import pytest

from ritz.lattice import Infidelity
from ritz.updates import SR, Gradient, StepControl
from tests.lattice.dynamics.systems import HILBERT, ISING, full_state, infidelity, mc_state
from tests.lattice.models import run

pytestmark = pytest.mark.netket

ROTATION = np.cos(0.4) + 1j * np.sin(0.4) * nk.operator.spin.sigmay(HILBERT, 0)
RULE = SR(1e-3)


def driver(target, state, rate=0.2, **options):
    options = {"update": RULE, "mode": "holomorphic", **options}
    return Infidelity(target, rate, variational_state=state, **options)


def exact(target, state, operator=None):
    phi = target.to_array()
    return infidelity(phi if operator is None else operator.to_dense() @ phi, state.to_array())


@pytest.mark.medium
@pytest.mark.parametrize("operator", [None, ROTATION], ids=["state", "rotated"])
def test_gradients_of_full_sums_are_those_of_finite_differences(operator):
    target, state = full_state(seed=1), full_state(seed=2)
    one = driver(target, state, update=Gradient(), operator=operator)
    _, proposal = jax.jit(type(one.kernel).propose)(one.kernel, one.carry, ())
    assert proposal.loss.mean == pytest.approx(exact(target, state, operator), abs=1e-12)
    weights, found = np.array(state.parameters["w"]), np.asarray(proposal.update["w"])
    for place in (0, 7):
        for unit in (1, 1j):
            losses = []
            for sign in (1, -1):
                moved = weights.copy()
                moved[place] += sign * 1e-5 * unit
                state.parameters = {"w": moved}
                losses.append(exact(target, state, operator))
            slope = (losses[0] - losses[1]) / 2e-5
            assert (found[place] * np.conj(unit)).real == pytest.approx(slope, abs=1e-8)


@pytest.mark.medium
@pytest.mark.parametrize("operator", [None, ROTATION], ids=["state", "rotated"])
def test_samples_agree_with_full_sums_and_the_control_variate_helps(operator):
    """Near the target, where errors with it are a few times smaller."""
    target, state = mc_state(n_samples=1024), mc_state(n_samples=1024)
    full = full_state(), full_state()
    if operator is not None:  # a state near U phi: the target, turned back
        target.parameters = {"w": target.parameters["w"] * 0}
    near = jax.tree.map(lambda w: w + 0.05 * np.cos(np.arange(w.size)), target.parameters)
    state.parameters = near
    for one, sampled in zip(full, (target, state), strict=True):
        one.parameters = sampled.parameters
    wanted, errors = exact(*full, operator), {}
    for control in (-0.5, 0.0):
        state.parameters = near
        one = driver(target, state, rate=0.0, operator=operator, control_variate=control)
        data = run(one, 6)
        means, sigmas = np.real(data["Infidelity"]["Mean"]), data["Infidelity"]["Sigma"]
        assert abs(means.mean() - wanted) < 5 * np.sqrt(np.mean(sigmas**2) / 6) + 1e-12
        errors[control] = np.sqrt(np.mean(sigmas**2))
    if operator is None:
        assert errors[-0.5] < 0.5 * errors[0.0]
    assert "v_score" not in data


@pytest.mark.medium
def test_full_sums_reach_the_target_and_rotated_ones():
    target, state = full_state(degree=4, seed=1), full_state(degree=4, seed=2)
    one = driver(target, state, rate=0.5, operator=ROTATION)
    run(one, 200)
    assert exact(target, state, ROTATION) < 1e-6
    assert one.loss.mean == pytest.approx(exact(target, state, ROTATION), abs=1e-6)


@pytest.mark.medium
def test_steps_are_controlled_as_given():
    found = []
    for control in (StepControl(max_infidelity=0.01), None):
        one = driver(full_state(seed=1), full_state(seed=2), rate=5.0, step_control=control)
        assert one.step_control is control
        found.append(run(one, 1)["info"])
    assert found[0]["step_scale"].values[0] < 1 and "step_scale" not in found[1]
    assert driver(full_state(), full_state()).step_control == StepControl()


@pytest.mark.medium
def test_samples_reach_the_target():
    target, state = mc_state(n_samples=256, seed=1), mc_state(n_samples=256, seed=3)
    one = driver(target, state, rate=0.1)
    data = run(one, 150)
    full = full_state(), full_state()
    for summed, sampled in zip(full, (target, state), strict=True):
        summed.parameters = sampled.parameters
    assert exact(*full) < 1e-4 < data["Infidelity"]["Mean"][0].real
    assert one.loss.error_of_mean < 1e-4  # where the states agree, so do the samples


@pytest.mark.medium
def test_wrong_arguments_say_what_is_needed():
    other = nk.hilbert.Spin(0.5, 3)
    elsewhere = nk.vqs.FullSumState(other, nk.models.Jastrow())
    direct = nk.vqs.MCState(nk.sampler.ExactSampler(HILBERT), nk.models.RBM(), n_samples=64)
    cases = [
        (TypeError, "target_state must be of the type .*vqs.MCState", full_state(), mc_state(), {}),
        (ValueError, "build both on the same Hilbert space", elsewhere, full_state(), {}),
        (ValueError, "give both the same number", mc_state(n_samples=32), mc_state(), {}),
        (ValueError, "ExactSampler cannot", direct, mc_state(), {}),
        (ValueError, "operator must be unitary", full_state(), full_state(), {"operator": ISING}),
        (ValueError, "rows of .* have the overlap 0.389", full_state(), full_state(),
         {"operator": np.cos(0.2) + np.sin(0.2) * nk.operator.spin.sigmax(HILBERT, 0)}),
        (TypeError, "control_variate must be a finite number, but 'x'", full_state(), full_state(),
         {"control_variate": "x"}),
        (TypeError, "control_variate must be", full_state(), full_state(),
         {"control_variate": None}),
        (ValueError, "control_variate must be", full_state(), full_state(),
         {"control_variate": np.nan}),
    ]  # fmt: skip
    for error, match, target, state, options in cases:
        with pytest.raises(error, match=match):
            driver(target, state, **options)
