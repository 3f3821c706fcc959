"""Trial losses, damping, rates and chunks."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz import lattice
from ritz.callbacks import (
    AutoChunkSize,
    BestState,
    LambdaCallback,
    ReduceLROnPlateau,
    TrustRegion,
)
from ritz.lattice import VMC, Evaluation
from ritz.updates import SPRING, SR, MinSR
from tests.lattice.models import ISING, assert_trees_close, full_state, mc_state, run, vmc

pytestmark = pytest.mark.netket


def test_trial_loss_of_a_full_sum_is_the_loss_of_the_next_step():
    driver, trials = vmc(full_state("phase")), []
    look = LambdaCallback(
        on_compute_update_end=lambda s, _, d: trials.append(d.trial_loss(d.update)) and False
    )
    data = run(driver, 3, callback=look)
    np.testing.assert_allclose(trials[:2], data["Energy"]["Mean"][1:], rtol=1e-12)


@pytest.mark.medium
def test_trial_loss_reweights_the_samples():
    """The estimate agrees with the exact energy after the update within its errors."""
    state = mc_state("complex", n_samples=4096)
    driver, exact = vmc(state, SR(0.1)), full_state("complex")
    driver.reset_step()
    loss, update = driver.compute_loss_and_update()
    before, samples = state.parameters, state._samples
    trial = driver.trial_loss(update)
    np.testing.assert_array_equal(state._samples, samples)  # nothing changed
    jax.tree.map(np.testing.assert_array_equal, state.parameters, before)
    exact.parameters = jax.tree.map(lambda p, u: p - 0.05 * u, before, update)
    assert abs(trial - exact.expect(ISING).mean) < 4 * loss.error_of_mean
    np.testing.assert_allclose(driver.trial_loss(jax.tree.map(jnp.zeros_like, update)), loss.mean)


def test_trial_loss_needs_samples():
    with pytest.raises(RuntimeError, match="call it in on_compute_update_end"):
        vmc().trial_loss(None)


def test_trust_region_on_a_full_sum_never_goes_up():
    driver = VMC(ISING, 1.0, variational_state=full_state(), update=SR(1e-4))
    data = run(driver, 8, callback=TrustRegion(z=0.0))
    assert np.all(np.diff(data["Energy"]["Mean"].real) <= 1e-9)
    assert "attempts" in data


def test_rate_scale_scales_the_step():
    steps = []
    for scale in (1.0, 0.25):
        driver = vmc(full_state())
        before = driver.parameters
        driver.rate_scale = scale
        run(driver, 1)
        steps.append(jax.tree.map(lambda a, b: a - b, driver.parameters, before))
    assert_trees_close(jax.tree.map(lambda x: x / 4, steps[0]), steps[1], rtol=1e-9, atol=1e-15)


def test_learning_rate_is_reduced():
    driver = vmc()
    run(driver, 4, callback=ReduceLROnPlateau("Energy", patience=0, min_delta=1e9))
    assert driver.rate_scale < 1


def test_chunks_change_nothing():
    whole, chunked = vmc(), vmc(mc_state(chunk_size=16), chunk_size_bwd=7)
    a, b = run(whole, 2), run(chunked, 2)
    np.testing.assert_allclose(a["Energy"]["Mean"], b["Energy"]["Mean"], rtol=1e-9)


@pytest.mark.medium
def test_auto_chunk_size_on_vmc(monkeypatch):
    driver = vmc()
    compute = driver._compute_live

    def hungry():
        result = compute()
        if (driver.state.chunk_size or 64) > 20:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return result

    monkeypatch.setattr(driver, "_compute_live", hungry)
    data = run(driver, 2, callback=AutoChunkSize())
    assert driver.chunk_sizes == {"forward": 16, "backward": 16}
    np.testing.assert_allclose(data["Energy"]["Mean"], run(vmc(), 2)["Energy"]["Mean"], rtol=1e-9)


def test_rollback_restores_everything_but_the_random_numbers():
    driver = vmc()
    run(driver, 2)
    snapshot = driver.snapshot()
    run(driver, 2)
    rng = driver.state.sampler_state.rng
    driver.restore(snapshot, fresh_samples=True)
    assert driver.parameters is not None and driver.state.sampler_state.rng is rng
    jax.tree.map(np.testing.assert_array_equal, driver.parameters, snapshot.params)


def test_a_poisoned_step_is_rolled_back():
    driver = vmc()
    once = []

    def poison(step, log_data, driver):
        if step == 1 and not once:
            once.append(1)
            driver.parameters = jax.tree.map(lambda x: x * jnp.nan, driver.parameters)

    data = run(driver, 4, callback=LambdaCallback(on_step_end=poison), on_divergence="retry")
    assert np.all(np.isfinite(data["Energy"]["Mean"])) and len(data["Energy"]) == 4
    assert data["retries"].iters.tolist() == [2] and driver.damping_scale == 10


def test_best_state_restores_parameters():
    driver, best = vmc(), BestState("Energy", restore=True)
    run(driver, 5, callback=best)
    assert_trees_close(driver.parameters, best.parameters, rtol=0)


def test_best_state_of_a_quantity_of_another_callback():
    def log(step, log_data, driver):
        log_data["score"] = -abs(step - 2.0)

    driver, best = vmc(), BestState("score", mode="max")
    run(driver, 4, callback=[LambdaCallback(before_parameter_update=log), best])
    assert (best.best_step, best.best_value) == (2, 0.0)
    with pytest.raises(ValueError, match="monitor 'scor' is not logged; this run logs: Energy"):
        run(driver, 1, callback=BestState("scor"))


def test_observables_do_not_take_names_of_rows():
    identity = {"Energy": nk.operator.spin.sigmaz(ISING.hilbert, 0)}
    with pytest.raises(ValueError, match="cannot be called 'Energy'; rows already have this name"):
        vmc().run(1, obs=identity, show_progress=False)
    with pytest.raises(ValueError, match="cannot be called 'v_score'; rows already"):
        vmc().run(1, obs={"v_score": identity["Energy"]}, show_progress=False)


def test_blas_has_one_thread_during_the_run_only():
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen = []
    look = LambdaCallback(on_step_end=lambda *_: seen.append(threads()))
    with threadpool_limits(2, user_api="blas"):
        before = threads()  # two, where there are two cores
        run(vmc(), 1, callback=look)
        assert threads() == before
        run(vmc(blas_threads=None), 1, callback=look)
    assert seen == [{1}, before]


@pytest.mark.medium
@pytest.mark.parametrize(
    "rule", [SR(1e-3), MinSR(1e-3), pytest.param(SPRING(1e-3), marks=pytest.mark.slow)], ids=type
)
def test_single_scores_change_little(rule):
    from ritz.updates import MARCH

    for update in (rule, MARCH(1e-2)) if isinstance(rule, SPRING) else (rule,):
        double = run(vmc(update=update), 4)["Energy"]["Mean"]
        single = run(vmc(update=update, single_scores=True), 4)["Energy"]["Mean"]
        assert np.any(single != double)
        np.testing.assert_allclose(single, double, rtol=2e-3)


def test_misspelt_arguments():
    with pytest.raises(TypeError, match=r"VMC has no argument 'updat'; did you mean update=\?"):
        VMC(ISING, 0.05, variational_state=None, updat=SR())
    with pytest.raises(TypeError, match=r"argument 'variational_sate'; did you mean variational_s"):
        VMC(ISING, 0.05, variational_sate=None)
    with pytest.raises(TypeError, match="Evaluation has no argument 'observable'; did you mean ob"):
        Evaluation(ISING, variational_state=None, observable={})


@pytest.mark.parametrize("model", [nk.models.RBM, lambda params, x: x], ids=["class", "function"])
def test_states_need_a_module(model):
    with pytest.raises(TypeError, match=r"such as netket.models.RBM\(alpha=1\), but .* was given"):
        lattice.mc_state(model, ISING.hilbert)
