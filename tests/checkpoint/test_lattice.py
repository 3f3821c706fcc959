"""Runs with all kinds of samplers and live callbacks are resumed exactly."""

import jax
import netket as nk
import numpy as np
import optax
import pytest

from ritz.callbacks import BestState, TrustRegion
from ritz.checkpoint import Checkpoint, CheckpointError, load
from ritz.lattice import VMC, mc_state
from ritz.loggers import RuntimeLog
from ritz.updates import SPRING
from tests.checkpoint.test_checkpoint import go, rows
from tests.driver.tools import at, raising

pytestmark = pytest.mark.netket

HILBERT = nk.hilbert.Spin(0.5, 4)
HAMILTONIAN = nk.operator.IsingJax(HILBERT, graph=nk.graph.Chain(4), h=1.0)
RATE, RULE = optax.adam(0.02), SPRING(diag_shift=1e-2)


def netket_state(sampler):
    return nk.vqs.MCState(sampler, nk.models.RBM(), n_samples=32, seed=1, sampler_seed=2)


STATES = {
    "complex": lambda: mc_state(
        nk.models.RBM(param_dtype=complex), HILBERT, n_samples=32, seed=1, sampler_seed=2
    ),
    "netket": lambda: netket_state(nk.sampler.MetropolisLocal(HILBERT, n_chains=8)),
    "full sum": lambda: nk.vqs.FullSumState(HILBERT, nk.models.RBM(), seed=1),
    "exact": lambda: netket_state(nk.sampler.ExactSampler(HILBERT)),
    "numpy": lambda: netket_state(
        nk.sampler.MetropolisSamplerNumpy(HILBERT, nk.sampler.rules.LocalRuleNumpy(), n_chains=8)
    ),
}


@pytest.mark.medium
@pytest.mark.bits
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k == "complex" else ()) for k in STATES]
)
def test_a_resumed_run_is_the_uninterrupted_one(kind):
    def run(folder, crash=-1):
        driver, log = VMC(HAMILTONIAN, RATE, variational_state=STATES[kind](), update=RULE), None
        live = TrustRegion() if kind in ("complex", "netket") else BestState()
        callbacks = [live, Checkpoint(folder, every_steps=5)]
        log = RuntimeLog()
        go(driver, 14, *callbacks, at(crash, raising(ArithmeticError()), "on_step_start"), out=log)
        return driver, log

    whole, whole_log = run("whole")
    with pytest.raises(ArithmeticError):
        run("other", crash=8)
    resumed, log = run("other")
    for a, b in zip(*(jax.tree.leaves(d.parameters) for d in (whole, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(log) == rows(whole_log)


def test_a_state_can_be_loaded_without_a_run():
    def make(kind):
        return VMC(HAMILTONIAN, RATE, variational_state=STATES[kind](), update=RULE)

    driver = go(make("full sum"), 3, Checkpoint("ck"))
    fresh = make("full sum")
    assert load("ck", fresh) == fresh.step_count == 3
    for a, b in zip(*(jax.tree.leaves(d.parameters) for d in (driver, fresh)), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(CheckpointError, match="has a state of other shapes: params.Dense.bias was"):
        load("ck/00000003-end", make("complex"))
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        load("none", fresh)
