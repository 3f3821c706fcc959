"""Blocks of lattice VMC: the same runs whatever their length."""

import netket as nk
import numpy as np
import optax
import pytest

from ritz.callbacks import BestState, ParameterEMA
from ritz.driver.blocks.block import run_block
from ritz.lattice import VMC, MetropolisLocal
from ritz.updates import KFAC, SPRING
from tests.driver.test_exactness import assert_exact
from tests.driver.tools import LiveAt
from tests.lattice.models import HILBERT, ISING, MODELS, full_state, run, vmc

pytestmark = pytest.mark.netket

DEFERRED = frozenset()
PROGRAMS = [
    {"events": [], "live": [DEFERRED, DEFERRED, {3, 4, 11}], "runs": [5, 1, 8], "traced": True},
    {
        "events": [(0, "on_compute_update_end", 6, "reject"),
                   (1, "before_parameter_update", 9, "stop")],
        "live": [DEFERRED, DEFERRED, {2}], "runs": [14], "traced": True,
    },
    {
        "events": [(2, "on_step_end", 7, "fail"), (1, "on_compute_update_end", 3, "double")],
        "live": [DEFERRED, {3}, DEFERRED], "runs": [12, 3], "traced": True,
    },
]  # fmt: skip

MARKOV = optax.sgd(optax.linear_schedule(0.05, 0.01, 10))
RULE = SPRING(1e-2)


def markov():
    sampler = MetropolisLocal(HILBERT, n_chains=32)
    state = nk.vqs.MCState(sampler, MODELS["complex"], n_samples=64, seed=1, sampler_seed=2)
    return VMC(ISING, MARKOV, variational_state=state, update=RULE)


@pytest.mark.bits
@pytest.mark.parametrize("make", [vmc, markov, lambda: vmc(full_state())],
                         ids=["NetKet's sampler", "Ritz's sampler", "full sum"])  # fmt: skip
@pytest.mark.parametrize("program", PROGRAMS, ids=["split", "rejected and stopped", "failed"])
def test_blocks_change_nothing(program, make):
    assert_exact({**program, "speculate": True}, make)


@pytest.mark.medium
@pytest.mark.bits
def test_blocks_change_nothing_of_kfac():
    """Whose memory is averages of matrices, and inverses for several steps."""
    rule = KFAC(1e-2, inverse_period=3)
    assert_exact({**PROGRAMS[1], "speculate": True}, lambda: vmc(update=rule))


@pytest.mark.medium
def test_one_program_serves_all_lengths():
    driver = markov()
    run(driver, 1)
    before = run_block._cache_size()
    for length in (1, 2, 5, 13):
        driver._length._limit = 1024
        run(driver, length)
    assert run_block._cache_size() == before


@pytest.mark.medium
def test_averages_and_live_callbacks_see_the_same_steps():
    ema, best, live = ParameterEMA(0.5), BestState(), LiveAt(lambda step: True)
    log = run(vmc(), 6, callback=[ema, best])
    run(vmc(), 6, callback=live)
    scores = np.real(log["Energy"]["Mean"]) + log["Energy"]["Sigma"]
    assert best.best_step == int(np.argmin(scores))
    weights = 0.5 ** np.arange(6)[::-1]
    kernels = [p["Dense"]["kernel"] for p in live.seen.values()]
    expected = np.einsum("t,tij->ij", weights / weights.sum(), np.array(kernels))
    np.testing.assert_allclose(ema.parameters["Dense"]["kernel"], expected, rtol=1e-8)


def test_samplers_that_cannot_be_compiled_run_step_by_step():
    sampler = nk.sampler.ExactSampler(HILBERT)
    state = nk.vqs.MCState(sampler, MODELS["real"], n_samples=32, seed=1, sampler_seed=1)
    ema = ParameterEMA(0.5)
    log = run(vmc(state), 4, callback=ema)
    assert "block" not in log and ema.weight == pytest.approx(1.875)
