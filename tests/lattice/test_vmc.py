import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
import pytest

from ritz import lattice
from ritz.callbacks import (
    AbstractCallback,
    LambdaCallback,
    Observables,
)
from ritz.lattice import VMC, v_score
from ritz.testing import check_driver
from ritz.updates import SPRING, SR, Gradient, MinSR
from tests.driver.tools import LiveAt
from tests.lattice.models import (
    HILBERT,
    ISING,
    MODELS,
    N_SITES,
    SGD,
    SR_RULE,
    assert_trees_close,
    full_state,
    mc_state,
    run,
    vmc,
)

pytestmark = pytest.mark.netket


def numpy_state():
    sampler = nk.sampler.MetropolisLocalNumpy(HILBERT, n_chains=16)
    return nk.vqs.MCState(sampler, MODELS["real"], n_samples=64, seed=1, sampler_seed=2)


@pytest.mark.medium
@pytest.mark.parametrize("make_state", [mc_state, full_state, numpy_state])
def test_conformance(make_state):
    check_driver(lambda: vmc(make_state()))


# Against NetKet


def netket_rule(rule):
    return {
        SR: {"use_ntk": False, "on_the_fly": False},
        MinSR: {"use_ntk": True, "on_the_fly": False},
        SPRING: {"use_ntk": True, "on_the_fly": False, "momentum": 0.9, "proj_reg": 1.0},
    }[type(rule)]


@pytest.mark.medium
@pytest.mark.parametrize(
    "model", [pytest.param(m, marks=pytest.mark.slow if m == "complex" else ()) for m in MODELS]
)
@pytest.mark.parametrize(
    "rule", [SR(1e-2), MinSR(1e-2), SPRING(1e-2, 0.9)], ids=["sr", "minsr", "spring"]
)
def test_same_run_as_netket(model, rule, capsys):
    """Same seeds: same samples, energies and directions, step by step."""
    ours, theirs = mc_state(model), mc_state(model)
    driver = vmc(ours, rule)
    peer = nk.driver.VMC_SR(
        ISING, SGD, diag_shift=1e-2, variational_state=theirs, **netket_rule(rule)
    )
    for _ in range(3):
        driver.run(1, show_progress=False)
        peer.run(1, show_progress=False)
        assert_trees_close(driver.update, peer._dp, rtol=1e-8, atol=1e-10)
        for field in ("mean", "error_of_mean", "variance", "R_hat", "tau_corr"):
            np.testing.assert_allclose(
                getattr(driver.loss, field), getattr(peer._loss_stats, field), rtol=1e-8, atol=1e-10
            )
    assert_trees_close(ours.parameters, theirs.parameters, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(ours.samples, theirs.samples)


@pytest.mark.medium
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("make_state", [mc_state, full_state])
def test_same_gradient_as_netket(model, make_state):
    ours, theirs = make_state(model), make_state(model)
    driver = vmc(ours, Gradient())
    driver.reset_step()
    loss, update = driver.compute_loss_and_update()
    stats, gradient = theirs.expect_and_grad(ISING)
    np.testing.assert_allclose(loss.mean, stats.mean, rtol=1e-10)
    assert_trees_close(update, gradient, rtol=1e-8, atol=1e-10)


def test_same_full_sum_as_netket(capsys):
    ours, theirs = full_state("phase"), full_state("phase")
    driver = vmc(ours, SR(1e-2))
    peer = nk.driver.VMC_SR(ISING, SGD, diag_shift=1e-2, variational_state=theirs)
    driver.run(3, show_progress=False)
    peer.run(3, show_progress=False)
    np.testing.assert_allclose(driver.loss.mean, peer._loss_stats.mean, rtol=1e-8)
    np.testing.assert_allclose(driver.loss.variance, peer._loss_stats.variance, rtol=1e-8)
    assert_trees_close(ours.parameters, theirs.parameters, rtol=1e-8, atol=1e-10)


# What is logged


def test_rows():
    driver = vmc()
    data = run(driver, 3, obs={"mz": nk.operator.spin.sigmaz(HILBERT, 0)}, step_size=2)
    assert list(data["Energy"].keys()) == ["Mean", "Variance", "Sigma", "R_hat", "TauCorr"]
    energy, variance = data["Energy"]["Mean"], data["Energy"]["Variance"]
    np.testing.assert_allclose(data["v_score"].values, N_SITES * variance / energy**2, rtol=1e-12)
    assert np.all((data["acceptance"].values > 0) & (data["acceptance"].values < 1))
    assert data["info"]["solver_fallback"].values.tolist() == [False] * 3
    assert data["mz"].iters.tolist() == [0, 2]
    assert isinstance(driver.loss.mean, float | np.generic | np.ndarray)  # on the host


def test_v_score():
    assert v_score(-10.0, 2.0, 5, 0.0) == 0.1
    assert v_score(-9.0 + 0.1j, 2.0, 5, 1.0) == 0.1
    driver = vmc(full_state(), energy_offset=1.0, n_dof=3)
    data = run(driver, 1)
    expected = 3 * data["Energy"]["Variance"] / (data["Energy"]["Mean"] - 1) ** 2
    np.testing.assert_allclose(data["v_score"].values, expected, rtol=1e-12)


def test_observables_use_the_samples_of_the_step():
    driver, seen = vmc(), []

    class Samples(AbstractCallback):
        callback_order = -20

        def before_parameter_update(self, step, log_data, driver):
            seen.append(driver.state._samples)

    data = run(driver, 1, callback=[Samples(), Observables({"again": ISING})])
    assert seen[0] is not None
    np.testing.assert_allclose(data["again"]["Mean"], data["Energy"]["Mean"], rtol=1e-10)


def test_exact_observables():
    driver = vmc()
    data = run(driver, 1, callback=Observables({"E": ISING}, fullsum=True))
    exact = full_state()
    exact.parameters = mc_state().parameters
    np.testing.assert_allclose(data["E"]["Mean"], [exact.expect(ISING).mean], rtol=1e-10)
    assert driver.estimate([ISING], fullsum=True)[0].error_of_mean == 0.0


@pytest.mark.parametrize("fullsum", [False, True])
def test_observables_are_computed_in_full_precision(monkeypatch, fullsum):
    kind, seen = nk.vqs.FullSumState if fullsum else nk.vqs.MCState, []
    expect = kind.expect

    def spy(state, operator):
        seen.append(jax.config.jax_default_matmul_precision)
        return expect(state, operator)

    monkeypatch.setattr(kind, "expect", spy)
    vmc().estimate(ISING, fullsum=fullsum)
    assert seen == ["highest"]


# Samples put in


def test_injected_samples_are_used_and_nothing_is_sampled():
    samples = HILBERT.all_states()[:32].reshape(2, 16, N_SITES)

    class Fixed(AbstractCallback):
        def on_compute_update_start(self, step, log_data, driver):
            assert driver.state._samples is None
            driver.state._samples = samples

    state = mc_state()
    before = state.sampler_state
    driver = vmc(state)
    seen = []
    look = LambdaCallback(before_parameter_update=lambda s, _, d: seen.append(d.state.samples))
    data = run(driver, 1, callback=[Fixed(), look])
    np.testing.assert_array_equal(seen[0], samples)
    np.testing.assert_array_equal(state.sampler_state.σ, before.σ)
    reference = mc_state()
    reference._samples = jnp.asarray(samples)
    np.testing.assert_allclose(data["Energy"]["Mean"], [reference.expect(ISING).mean], rtol=1e-10)


def test_samples_of_any_shape_may_be_put_in():
    driver = vmc()
    put = LambdaCallback(
        on_compute_update_start=lambda s, _, d: setattr(d.state, "_samples", HILBERT.all_states())
    )
    assert np.isfinite(run(driver, 1, callback=put)["Energy"]["Mean"][0])


def test_a_live_callback_may_change_the_state():
    driver = vmc()
    zero = LambdaCallback(
        on_step_end=lambda s, _, d: setattr(
            d, "parameters", jax.tree.map(jnp.zeros_like, d.parameters)
        )
    )
    data = run(driver, 2, callback=zero)
    # With all parameters zero every configuration is equally likely: <H> = -h N on average.
    assert abs(data["Energy"]["Mean"][1] + N_SITES) < 5 * data["Energy"]["Sigma"][1] + 1


@pytest.mark.medium
def test_settings_of_the_state_may_change_between_runs():
    driver = vmc()
    run(driver, 1)
    driver.state.n_samples = 128
    driver.state.chunk_size = 16
    run(driver, 1)
    assert driver.state.samples.shape == (16, 8, N_SITES)


# Bits


def test_a_run_in_two_processes_worth_of_state():
    """Carry and nothing else decides what follows."""
    first = vmc()
    run(first, 3)
    second = vmc()
    second.carry = first.carry
    run(first, 3)
    run(second, 3)
    jax.tree.map(np.testing.assert_array_equal, first.parameters, second.parameters)


def test_equal_drivers_share_their_programs():
    from ritz.driver.blocks import live as live_steps
    from ritz.driver.blocks.block import run_block

    programs = (run_block, live_steps.draw_and_step, live_steps.apply)
    live = LiveAt(lambda step: step % 2 == 1)
    run(vmc(), 2, callback=live)
    counts = [f._cache_size() for f in programs]
    run(vmc(mc_state(seed=9)), 3, callback=live)
    assert counts == [f._cache_size() for f in programs]


# Errors


def test_bad_arguments_say_what_to_do():
    other = nk.operator.IsingJax(nk.hilbert.Spin(0.5, 4), nk.graph.Chain(4), h=1.0)
    state = mc_state()

    def make(hamiltonian=ISING, optimizer=SGD, variational_state=state, **options):
        return lambda: VMC(hamiltonian, optimizer, variational_state=variational_state, **options)

    mixed_sampler = nk.sampler.MetropolisLocal(nk.hilbert.DoubledHilbert(HILBERT), n_chains=16)
    mixed = nk.vqs.MCMixedState(mixed_sampler, nk.models.NDM(), n_samples=16)
    cases = [
        (TypeError, "must be a netket.vqs.MCState or FullSumState, but MCMixedState",
         make(variational_state=mixed)),
        (ValueError, "build both on the same Hilbert space", make(other)),
        (TypeError, "must be a netket.vqs.MCState or FullSumState, but 3",
         make(variational_state=3)),
        (TypeError, r"such as ritz.updates.SR\(\), but a builtins.str was", make(update="sr")),
        (TypeError, "optimizer must be an optax transformation", make(optimizer="sgd")),
        (ValueError, "mode must be 'real', 'complex' or 'holomorphic', but 'x'", make(mode="x")),
        (TypeError, "cannot be used inside compiled code", make(nk.operator.Squared(ISING))),
        (TypeError, r"no argument 'diag_shift'; give it to the rule .*update=SR\(diag_shift",
         make(diag_shift=0.1)),
        (ValueError, r"gives \(2, 1\) for two configurations.*log psi of each, of shape \(2,\)",
         make(variational_state=nk.vqs.FullSumState(HILBERT, nn.Dense(1)))),
        (TypeError, r"model comes first, mc_state\(model, hilbert\)",
         lambda: lattice.mc_state(HILBERT, nk.models.RBM())),
    ]  # fmt: skip
    for error, match, build in cases:
        with pytest.raises(error, match=match):
            build()


def test_a_number_or_schedule_is_a_learning_rate():
    for rate in (0.05, optax.constant_schedule(0.05), np.float64(0.05)):
        driver = VMC(ISING, rate, variational_state=full_state(), update=SR_RULE)
        run(driver, 1)
        reference = vmc(full_state())
        run(reference, 1)
        assert_trees_close(driver.parameters, reference.parameters, rtol=1e-12)


def test_the_rule_is_chosen_by_size():
    few, many = mc_state(n_samples=16), mc_state(n_samples=256)
    assert isinstance(VMC(ISING, SGD, variational_state=few).rule, MinSR)
    assert isinstance(VMC(ISING, SGD, variational_state=many).rule, SR)
