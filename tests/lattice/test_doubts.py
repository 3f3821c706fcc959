"""Frozen chains, chains that disagree and exploded parameters are told, and are no success."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
import pytest

from ritz.callbacks import BestState, LambdaCallback
from ritz.checkpoint import Checkpoint
from ritz.driver import StopReason
from ritz.lattice import VMC, Evaluation, MetropolisExchange, MetropolisLocal
from ritz.lattice.doubts import Watch, judges_r_hat, of_explosion, of_variance, standstill
from ritz.loggers import CSVLog, JsonLog, RuntimeLog
from ritz.plotting import read_log
from ritz.stages.digest import Digest, read_digest, table
from ritz.updates import SR

OF_VARIANCE, OF_EXPLOSION = jax.jit(of_variance), jax.jit(of_explosion)
LIVE = LambdaCallback(on_step_end=lambda step, log_data, driver: None)


class Peaked(nn.Module):
    """A state so peaked that local flips are never accepted."""

    weight: float = 50.0

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.constant(self.weight), ())
        return w * jnp.sum(x, axis=-1)


HILBERT = nk.hilbert.Spin(0.5, 6)
ISING = nk.operator.Ising(HILBERT, nk.graph.Chain(6), h=1.0)


def vmc(model, sampler=None, rate=1e-6, n_samples=64, hamiltonian=ISING, discard=8, **options):
    sampler = sampler or MetropolisLocal(hamiltonian.hilbert, n_chains=16)
    state = nk.vqs.MCState(
        sampler, model, n_samples=n_samples, n_discard_per_chain=discard, seed=1, sampler_seed=2
    )
    # Without step control, which keeps most of these runs from going wrong.
    return VMC(hamiltonian, rate, variational_state=state, step_control=None, **options)


@pytest.mark.parametrize("callbacks", [(), (LIVE,)], ids=["blocks", "live"])
@pytest.mark.parametrize(
    "sampler",
    [
        MetropolisLocal(HILBERT, n_chains=16),
        nk.sampler.MetropolisLocal(HILBERT, n_chains=16),
        nk.sampler.MetropolisSamplerNumpy(HILBERT, nk.sampler.rules.LocalRuleNumpy(), n_chains=16),
    ],
    ids=["Ritz", "NetKet", "NumPy"],
)
@pytest.mark.medium
def test_a_frozen_sampler_is_told_and_is_never_the_best(sampler, callbacks, caplog):
    log, best = RuntimeLog(), BestState()
    driver = vmc(Peaked(), sampler)
    driver.run(4, out=[log, CSVLog("r"), JsonLog("r")], callback=[best, *callbacks],
               show_progress=False)  # fmt: skip
    assert log.data["acceptance"].values[-1] == 0
    marks = log.data["suspect"]
    assert marks.iters[0] <= 2 and "acceptance" in marks.values[-1]
    assert best.best_step is None or best.best_step < marks.iters[0]
    assert "acceptance" in read_log("r.log")["suspect"]["value"][-1]
    assert "acceptance" in read_log("r.csv")["suspect"]["value"][-1]
    warnings = [r for r in caplog.records if "fewer than 0.001 of its moves" in r.message]
    assert len(warnings) == 1 and "try another sampler" in warnings[0].message


@pytest.mark.medium
def test_a_state_that_is_sampled_well_is_not_suspect(caplog):
    for n_chains in (16, 64):
        driver, log = vmc(Peaked(0.1), MetropolisLocal(HILBERT, n_chains=n_chains)), RuntimeLog()
        driver.run(30, out=log, show_progress=False)
        assert "suspect" not in log.data
    assert not [r for r in caplog.records if "suspect" in r.message]


@nk.utils.struct.dataclass
class Staying(nk.sampler.rules.MetropolisRule):
    """Proposes where the chain is already, which is accepted always."""

    def transition(self, sampler, machine, parameters, state, key, σ):
        return σ, None


def test_moves_that_change_nothing_are_told(caplog):
    log = RuntimeLog()
    sampler = nk.sampler.MetropolisSampler(HILBERT, Staying(), n_chains=16, reset_chains=False)
    driver = vmc(Peaked(0.1), sampler, n_samples=16)
    driver.run(7, out=log, show_progress=False)
    assert list(log.data["suspect"].iters) == [4, 5, 6]  # chains of few sites need more steps
    assert list(log.data["suspect"].values) == ["chains"] * 3
    assert log.data["acceptance"].values[0] == 1
    assert "no chain has moved, although moves were accepted" in caplog.text


def marks_at_rest(model, sampler, n):
    """How often the chains of a state are said to be frozen."""
    hilbert = sampler.hilbert
    field = sum(nk.operator.spin.sigmaz(hilbert, i) for i in range(hilbert.size)).to_jax_operator()
    state = nk.vqs.MCState(
        sampler, model, n_samples=sampler.n_chains, n_discard_per_chain=0, seed=1, sampler_seed=2
    )
    driver, log = Evaluation(field, variational_state=state), RuntimeLog()
    driver.run(n, out=log, show_progress=False)
    marks = log.data.get("suspect")
    steps = [] if marks is None else [
        int(n) for n, mark in zip(marks.iters, marks.values, strict=True) if "chains" in mark
    ]  # fmt: skip
    return steps, np.mean(log.data["acceptance"].values)


@pytest.mark.medium
def test_free_chains_of_few_sites_are_not_frozen():
    """All flip the same sites: with four they are where they were in 40 of 256 sweeps."""
    sampler = MetropolisLocal(nk.hilbert.Spin(0.5, 4), n_chains=16)
    assert marks_at_rest(Peaked(0.0), sampler, 300) == ([], 1.0)
    balanced = nk.hilbert.Spin(0.5, 4, total_sz=0)
    sampler = MetropolisExchange(balanced, graph=nk.graph.Chain(4), n_chains=16)
    assert marks_at_rest(Peaked(0.0), sampler, 300) == ([], 1.0)


class Wall(nn.Module):
    """A state so peaked at up spins on the left that exchanges of unequal spins are rejected."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.constant(-20.0), ())
        return w * jnp.sum(jnp.arange(x.shape[-1]) * x, axis=-1)


@pytest.mark.medium
@pytest.mark.parametrize("n_sites", [4, 12])
def test_chains_that_only_exchange_equal_spins_are_frozen(n_sites):
    """Such exchanges count as accepted."""
    hilbert = nk.hilbert.Spin(0.5, n_sites, total_sz=0)
    graph = nk.graph.Chain(n_sites, pbc=False)
    sampler = MetropolisExchange(hilbert, graph=graph, n_chains=16)
    steps, acceptance = marks_at_rest(Wall(), sampler, 100)
    assert acceptance > 0.5 and steps[0] < 60
    # With few sites also steps in which no move at all is accepted are rare, but occur.
    assert len(steps) > 0.9 * (100 - steps[0])


def test_how_long_free_chains_may_seem_frozen():
    assert [standstill(n, n, 1) for n in (2, 4, 6, 10, 36, 1000)] == [20, 8, 5, 3, 1, 1]
    assert standstill(4, 4, 4) == 2 and standstill(1, 1, 1) == 20


def test_steps_without_moves_tell_nothing_of_explosions():
    """The acceptance of such a step is not that of one that was sampled well."""
    watch = Watch.begin().after(moved=jnp.asarray(False))
    stats = nk.stats.Stats(mean=jnp.asarray(-1.0), variance=jnp.asarray(0.1))
    after, _ = OF_EXPLOSION(watch, stats, jnp.asarray(1.0), {})
    assert after.acceptance == 0 and int(after.still) == 1
    after, _ = OF_EXPLOSION(watch.after(moved=jnp.asarray(True)), stats, jnp.asarray(1.0), {})
    assert after.acceptance == 1 and int(after.still) == 0


class TwoWells(nn.Module):
    """Chains stay in the well in which they began."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.constant(0.6), ())
        return w * jnp.sum(x, axis=-1) ** 2 / 2


def test_chains_that_disagree_are_told():
    hilbert = nk.hilbert.Spin(0.5, 12)
    field = sum(nk.operator.spin.sigmaz(hilbert, i) for i in range(12)).to_jax_operator()
    driver = vmc(TwoWells(), MetropolisLocal(hilbert, n_chains=16), n_samples=512,
                 hamiltonian=field)  # fmt: skip
    log = RuntimeLog()
    driver.run(3, out=log, show_progress=False)
    assert any("r_hat" in mark for mark in log.data["suspect"].values)
    assert max(log.data["Energy"]["R_hat"]) > 1.1


def test_independent_samples_rarely_disagree():
    rng = np.random.default_rng(5)
    for n_chains, length in [(16, 16), (16, 64), (4, 64), (64, 12)]:
        if not judges_r_hat(n_chains, length):
            continue
        data = rng.standard_normal((500, n_chains, length))
        found = jax.vmap(nk.stats.statistics)(jnp.asarray(data)).R_hat
        assert np.sum(found > 1.1) <= 1
    assert judges_r_hat(16, 64) and not judges_r_hat(16, 8) and not judges_r_hat(1, 1000)


def variance_marks(values):
    watch, marks = Watch.begin(), []
    for value in values:
        stats = nk.stats.Stats(mean=jnp.asarray(-3.0), variance=jnp.asarray(float(value)))
        watch, jumped = OF_VARIANCE(watch, stats)
        marks.append(bool(jumped))
    return marks


def test_a_jump_of_the_variance_by_orders_is_told():
    assert variance_marks([5, 4, 6, 1e5, 1e6, 3]) == [False] * 3 + [True, True, False]
    # A run that leaves an eigenstate, and one that converges to one.
    assert not any(variance_marks([1e-6 * 3.0**k for k in range(15)]))
    assert not any(variance_marks([10.0 ** (1 - k) for k in range(30)]))
    assert not any(variance_marks([0.0, 0.0, 1e-25, 1e-21]))
    # Few samples, which are all one configuration at most steps.
    assert not any(variance_marks([0.0, *[0.0, 0.0, 3.0, 0.0, 0.0, 1.0, 0.0] * 20][3:]))
    # What stays large is taken for what it is in the end.
    assert not variance_marks([1.0] + [1e6] * 200)[-1]


@pytest.fixture(scope="module")
def chain():
    hilbert = nk.hilbert.Spin(0.5, 10)
    operator = nk.operator.Ising(hilbert, nk.graph.Chain(10), h=0.7, J=-1.0)
    return operator, float(nk.exact.lanczos_ed(operator)[0])


@pytest.mark.medium
@pytest.mark.parametrize("callbacks", [(), (LIVE,)], ids=["blocks", "live"])
def test_garbage_is_neither_the_best_nor_saved_nor_what_stays(chain, callbacks):
    operator, exact = chain
    best = BestState()
    driver = vmc(nk.models.RBM(), MetropolisLocal(operator.hilbert, n_chains=256), rate=1.0,
                 n_samples=512, hamiltonian=operator, discard=None, update=SR(1e-3))  # fmt: skip
    driver.run(60, callback=[best, *callbacks, Checkpoint("ck", every_steps=1)],
               show_progress=False)  # fmt: skip
    assert driver.stop_reason is StopReason.DIVERGED
    assert best.best_value > exact
    full = nk.vqs.FullSumState(operator.hilbert, nk.models.RBM(), seed=1)
    for parameters in (driver.parameters, best.parameters):
        full.parameters = parameters
        assert exact < full.expect(operator).mean.real < 0
    resumed = vmc(nk.models.RBM(), MetropolisLocal(operator.hilbert, n_chains=256), rate=0.01,
                  n_samples=512, hamiltonian=operator, discard=None, update=SR(0.1))  # fmt: skip
    again = Checkpoint("ck", accept_changes=["optimizer", "update"])
    resumed.run(60, callback=[BestState(), *callbacks, again], resume=True, show_progress=False)
    assert resumed.stop_reason is StopReason.FINISHED
    assert abs(resumed.loss.mean.real - exact) < 1


def freezing(acceptances, energies):
    watch, marks = Watch.begin(), []
    for acceptance, energy in zip(acceptances, energies, strict=True):
        stats = nk.stats.Stats(mean=jnp.asarray(energy), variance=jnp.asarray(0.01))
        found = {"acceptance": jnp.asarray(acceptance < 1e-3)}
        watch, exploded = OF_EXPLOSION(watch, stats, jnp.asarray(acceptance), found)
        marks.append(bool(exploded))
    return marks


def test_chains_that_freeze_by_and_by_have_not_exploded():
    assert not any(freezing([0.5, 0.1, 0.01, 0.0, 0.0], [-1.0, -6.0, -7.9, -8.0, -7.95]))
    assert not any(freezing([0.0, 0.0], [-1.0, 3.0]))
    assert freezing([0.5, 0.1, 0.01, 0.0, 0.01], [-1.0, -6.0, -7.9, -4.0, -4.0])[3]
    assert freezing([0.5, 0.4, 0.0, 0.0], [-1.0, -6.0, -8.0, -8.0]) == [False, False, True, True]


@pytest.mark.medium
def test_a_run_that_converges_to_a_product_state_is_saved():
    hilbert = nk.hilbert.Spin(0.5, 8)
    operator = nk.operator.Ising(hilbert, nk.graph.Chain(8), h=0.05)
    driver = vmc(nk.models.RBM(), MetropolisLocal(hilbert, n_chains=16), rate=0.05,
                 n_samples=512, hamiltonian=operator)  # fmt: skip
    log = RuntimeLog()
    driver.run(60, out=log, callback=Checkpoint("ck", every_steps=20), show_progress=False)
    assert log.data["acceptance"].values[-1] < 1e-3
    assert {"exploded", "variance"}.isdisjoint(", ".join(log.data["suspect"].values).split(", "))
    assert (Path("ck") / "00000060-end").exists() and not (Path("ck") / "failed").exists()


@pytest.mark.medium
def test_retrying_heals_what_stops_by_default():
    hilbert = nk.hilbert.Spin(0.5, 10, total_sz=0)
    graph = nk.graph.Chain(10, max_neighbor_order=2)
    operator = nk.operator.Heisenberg(hilbert, graph, J=[1.0, 0.4], sign_rule=[True, False])
    exact = float(nk.exact.lanczos_ed(operator)[0])
    shift = optax.exponential_decay(0.1, 10, 0.5, end_value=1e-3)

    def driver():
        sampler = MetropolisExchange(hilbert, graph=graph, n_chains=128, d_max=2)
        state = nk.vqs.MCState(
            sampler, nk.models.RBM(alpha=2), n_samples=256, seed=1, sampler_seed=2
        )
        return VMC(operator, 0.05, variational_state=state, step_control=None, update=SR(shift))

    stopped, healed, log = driver(), driver(), RuntimeLog()
    stopped.run(150, show_progress=False)
    assert stopped.stop_reason is StopReason.DIVERGED and stopped.step_count < 150
    healed.run(150, out=log, show_progress=False, on_divergence="retry")
    assert healed.stop_reason is StopReason.FINISHED and sum(log.data["retries"].values) >= 1
    assert abs(healed.loss.mean.real - exact) < 5 * healed.loss.error_of_mean + 0.2


@pytest.mark.medium
def test_the_digest_of_frozen_chains_says_so(caplog, capsys):
    state = vmc(Peaked()).state
    driver = Evaluation(ISING, variational_state=state)
    digest = Digest(moments=lambda driver: driver.chain_moments)
    driver.run(20, callback=digest)
    assert "(suspect: acceptance" in capsys.readouterr().err
    assert "acceptance" in digest.estimates()["Energy"].suspect
    assert "acceptance" in read_digest(".")["Energy"].suspect
    assert "This evaluation cannot be trusted: Energy is suspect by" in caplog.text
    line = next(line for line in table(digest.estimates()).splitlines() if "Energy" in line)
    assert "(suspect: acceptance" in line and "+-" not in line
    good = Evaluation(ISING, variational_state=vmc(Peaked(0.1)).state)
    digest = Digest(folder=None)
    good.run(20, callback=digest, show_progress=False)
    assert digest.estimates()["Energy"].suspect == ""
    assert "suspect" not in table(digest.estimates()) and "+-" in table(digest.estimates())
