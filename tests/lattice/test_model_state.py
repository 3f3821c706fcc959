"""Models with variables besides their parameters."""

import flax.linen as nn
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.lattice import TDVP, VMC
from ritz.updates import SR
from tests.lattice.models import HILBERT, ISING, run

pytestmark = pytest.mark.netket


class Normalised(nn.Module):
    """A layer, batch normalisation, and a sum."""

    default: bool | None = True

    @nn.compact
    def __call__(self, x, use_running_average=None):
        running = self.default if use_running_average is None else use_running_average
        y = nn.Dense(6, param_dtype=float)(x)
        y = nn.BatchNorm(use_running_average=running, momentum=0.8, param_dtype=float)(y)
        return jnp.sum(nk.nn.activation.log_cosh(y), axis=-1)


FOLLOWS = {"mutable": ["batch_stats"], "training_kwargs": {"use_running_average": False}}


def state_of(model=None, kind="samples", **options):
    model = model or Normalised()
    if kind == "sum":
        return nk.vqs.FullSumState(HILBERT, model, seed=1, **options)
    sampler = nk.sampler.MetropolisLocal(HILBERT, n_chains=64)
    return nk.vqs.MCState(
        sampler, model, n_samples=256, seed=1, sampler_seed=2, n_discard_per_chain=2, **options
    )


def driver_of(state):
    return VMC(ISING, 0.05, variational_state=state, update=SR(1e-2))


@pytest.mark.medium
def test_statistics_follow_the_samples():
    """As the momentum says, from the samples of the step and the parameters before it."""
    state = state_of(**FOLLOWS)
    before = state.variables
    driver = driver_of(state)
    drawn = []
    look = LambdaCallback(before_parameter_update=lambda step, row, d: drawn.append(d.batch))
    driver.run(1, callback=look, show_progress=False)
    samples = np.asarray(drawn[0], float)
    dense = before["params"]["Dense_0"]
    y = samples.reshape(-1, 6) @ dense["kernel"] + dense["bias"]
    found = state.model_state["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], 0.2 * np.mean(y, axis=0), atol=1e-6)
    np.testing.assert_allclose(found["var"], 0.8 + 0.2 * np.var(y, axis=0), atol=1e-6)


@pytest.mark.medium
def test_training_with_batch_normalisation():
    state = state_of(**FOLLOWS)
    driver = driver_of(state)
    data = run(driver, 120)
    assert np.isfinite(data["Energy"]["Mean"]).all()
    full = state_of(kind="sum", variables=state.variables)
    energy = full.expect(ISING).mean.real
    assert energy == pytest.approx(-7.727407, rel=5e-3)
    assert np.all(state.model_state["batch_stats"]["BatchNorm_0"]["var"] != 1)


def test_blocks_and_live_steps_agree():
    found = []
    for max_block in (1, None):
        state = state_of(**FOLLOWS)
        driver_of(state).run(3, max_block=max_block, show_progress=False)
        found.append(state.model_state["batch_stats"]["BatchNorm_0"]["mean"])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_statistics_that_stay_are_told(caplog):
    driver_of(state_of(kind="sum"))
    assert "variables besides parameters (batch_stats), which stay" in caplog.text
    assert "mutable=[" in caplog.text


def test_models_that_change_when_called_are_refused():
    with pytest.raises(ValueError, match=r"changes its variables whenever it is called.*mutable="):
        driver_of(state_of(Normalised(default=False), kind="sum"))


def test_statistics_that_would_follow_are_refused_in_time():
    state = state_of(kind="sum", **FOLLOWS)
    with pytest.raises(ValueError, match=r"has mutable=.*batch_stats.*neither mutable nor train"):
        TDVP(ISING, state, propagation="imaginary")
    TDVP(ISING, state_of(kind="sum", variables=state.variables), propagation="imaginary")
