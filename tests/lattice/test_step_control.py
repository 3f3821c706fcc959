"""Steps that are shortened or taken back."""

import dataclasses

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
import pytest

from ritz.callbacks import LambdaCallback, ParameterEMA
from ritz.driver import StopReason
from ritz.lattice import VMC, mc_state
from ritz.loggers import RuntimeLog
from ritz.updates import MARCH, SPRING, SR, AbstractUpdateRule, StepControl
from ritz.updates.step_control import infidelity

HILBERT = nk.hilbert.Spin(0.5, 6)
ISING = nk.operator.IsingJax(HILBERT, nk.graph.Chain(6), h=1.0)
MODEL = nk.models.RBM(alpha=1)
LIVE = LambdaCallback(on_step_end=lambda step, log_data, driver: None)


def summed(rate, update=None, **options):
    state = nk.vqs.FullSumState(HILBERT, MODEL, seed=0)
    return VMC(ISING, rate, variational_state=state, update=update or SR(1e-3), **options)


def sampled(rate, update, **options):
    state = mc_state(MODEL, HILBERT, n_samples=64, seed=0, sampler_seed=1)
    return VMC(ISING, rate, variational_state=state, update=update, **options)


def run(driver, n, *callbacks):
    log = RuntimeLog()
    driver.run(n, out=log, callback=callbacks, show_progress=False)
    return log.data


def went_back(log, n):
    marks = log.get("suspect")
    known = {} if marks is None else dict(zip(marks.iters, marks.values, strict=True))
    first = log["Energy"].iters[0]
    return ["taken_back" in known.get(first + k, "") for k in range(n)]


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_infidelity_is_that_of_states():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 2, 50)).view(complex).reshape(2, 50)
    one /= np.linalg.norm(one)
    weights = np.abs(one) ** 2
    found = infidelity(jnp.log(other / one), weights)
    wanted = 1 - abs(np.vdot(one, other)) ** 2 / np.vdot(other, other).real
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    np.testing.assert_allclose(infidelity(jnp.full(50, 300 + 2j), 1 / 50), 0, atol=1e-12)
    assert not np.isfinite(infidelity(jnp.array([0.0, np.nan]), 0.5))


@pytest.mark.parametrize("make", [summed, sampled])
@pytest.mark.medium
def test_short_steps_are_not_changed_by_a_bit(make):
    plain, controlled = (make(0.01, SR(0.1), step_control=c) for c in (None, StepControl()))
    log = run(controlled, 10)
    run(plain, 10)
    assert np.all(np.asarray(log["info"]["step_scale"].values) == 1)
    same(plain.state.parameters, controlled.state.parameters)


def test_long_steps_are_shortened_to_the_bound():
    driver, states = summed(3.0), []
    keep = LambdaCallback(on_step_end=lambda s, row, d: states.append(d.state.to_array()))
    log = run(driver, 30, keep)
    states = np.array(states)
    overlaps = np.abs(np.sum(states[1:].conj() * states[:-1], axis=1)) ** 2
    assert np.all(1 - overlaps <= 0.2 * 1.1 + 1e-9)
    scales = np.asarray(log["info"]["step_scale"].values)
    assert scales.min() < 0.3 and np.all(np.isfinite(log["Energy"]["Mean"]))
    assert driver.loss.mean.real < -6.9
    wild = run(summed(3.0, step_control=None), 30)["Energy"]["Mean"]
    assert np.all(wild.real > -6.1)  # stays where the first step has led


@dataclasses.dataclass(frozen=True)
class Kick(AbstractUpdateRule):
    """SR that goes astray at one step."""

    at: int = 5
    size: float = 40.0

    def init(self, params, problem):
        return SR(0.1).init(params, problem)

    def update(self, state, problem, params, key):
        direction, new, info = SR(0.1).update(state, problem, params, key)
        noise = jax.random.normal(jax.random.key(7), (12,))
        wrong = jax.tree.map(lambda leaf: self.size * jnp.resize(noise, leaf.shape), direction)
        kicked = jax.tree.map(lambda w, d: jnp.where(state == self.at, w, d), wrong, direction)
        return kicked, new, info


@pytest.mark.parametrize("callbacks", [(), (LIVE,)], ids=["blocks", "live"])
@pytest.mark.medium
def test_a_step_after_which_the_energy_explodes_is_taken_back(callbacks):
    control = StepControl(max_infidelity=None)
    before, after = (sampled(optax.sgd(0.05, 0.5), Kick(), step_control=control) for _ in range(2))
    run(before, 5, *callbacks)
    log = run(after, 7, *callbacks)
    assert went_back(log, 7) == [False] * 6 + [True]
    same(before.state.parameters, after.state.parameters)
    same(before.optimizer_state, after.optimizer_state)
    assert int(after.rule_state) == 5
    energies = log["Energy"]["Mean"].real
    assert abs(energies[6] - energies[5]) > 1
    # The kick comes again, and is taken back again; steps are shorter from then on.
    more = run(after, 10, *callbacks)["info"]
    assert more["step_scale"].values[0] == pytest.approx(0.25 * 1.1)


@pytest.mark.medium
@pytest.mark.parametrize("callbacks", [(), (LIVE,)], ids=["blocks", "live"])
def test_energies_that_are_not_numbers_are_left(callbacks):
    control = StepControl(max_infidelity=None)
    driver = sampled(0.05, Kick(size=1e5), step_control=control)
    log = run(driver, 9, *callbacks)
    energies = log["Energy"]["Mean"]
    assert went_back(log, 9) == [False] * 6 + [True, False, True]
    assert np.isfinite(energies).tolist() == [True] * 6 + [False, True, False]
    assert driver.stop_reason == StopReason.FINISHED
    plain = sampled(0.05, Kick(size=1e5), step_control=None)
    run(plain, 9, *callbacks)
    assert plain.stop_reason == StopReason.DIVERGED


@pytest.mark.medium
@pytest.mark.parametrize("callbacks", [(), (LIVE,)], ids=["blocks", "live"])
def test_a_run_that_no_step_helps_is_stuck(callbacks):
    control = StepControl(max_infidelity=None)
    log = run(sampled(0.05, Kick(size=1e300), step_control=control), 20, *callbacks)
    marks = dict(zip(log["suspect"].iters, log["suspect"].values, strict=True))
    # The kick comes after six steps; it is tried at every other one.
    assert [step for step, mark in marks.items() if "taken_back" in mark] == list(range(6, 20, 2))
    assert [step for step, mark in marks.items() if "stuck" in mark] == [16, 18]


@pytest.mark.medium
def test_blocks_and_live_steps_agree_where_steps_are_taken_back():
    drivers = [sampled(0.05, Kick(), step_control=StepControl(max_infidelity=0.9)) for _ in "ab"]
    logs = [run(d, 12, *extra) for d, extra in zip(drivers, [(), (LIVE,)], strict=True)]
    assert any(went_back(logs[0], 12))
    same(drivers[0].state.parameters, drivers[1].state.parameters)
    np.testing.assert_array_equal(logs[0]["Energy"]["Mean"], logs[1]["Energy"]["Mean"])


@pytest.mark.medium
def test_averages_leave_out_what_is_taken_back():
    control, states = StepControl(max_infidelity=None), []
    live, compiled = ParameterEMA(0.9), ParameterEMA(0.9)
    keep = LambdaCallback(on_step_end=lambda s, row, d: states.append(d.snapshot_parameters()))
    log = run(sampled(0.05, Kick(size=1e5), step_control=control), 8, live, keep)
    run(sampled(0.05, Kick(size=1e5), step_control=control), 8, compiled)
    counted = [
        s for s, left in zip(states, [*went_back(log, 8)[1:], False], strict=True) if not left
    ]
    assert len(counted) == 7
    weights = 0.9 ** np.arange(7)[::-1]
    wanted = jax.tree.map(lambda *leaves: np.average(leaves, axis=0, weights=weights), *counted)
    for found in (live.average, compiled.average):
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other), found, wanted)


def judged(losses, deviations, error=0.02):
    """Whether each of a series of losses is taken back."""
    control, found = StepControl(), []
    state = control.begin(jnp.zeros(1))
    rows = zip(losses, deviations, np.broadcast_to(error, len(losses)), strict=True)
    for loss, deviation, of_loss in rows:
        numbers = jnp.array([loss, deviation**2, of_loss])
        state = control.judge(state, jnp.zeros(1), *numbers)
        found.append(bool(state.goes_back))
    return found


def test_many_small_steps_upwards_count_as_one():
    deviations = 1.8 ** np.arange(8)
    losses = -10 + np.cumsum(0.8 * np.append(0, deviations[:-1]))
    found = judged(losses, deviations)
    assert found[:2] == [False, False] and any(found[:4])


def test_noise_and_long_descents_are_plausible():
    random = np.random.default_rng(0)
    assert not any(judged(-10 + 0.3 * random.normal(size=500), np.ones(500), error=0.3))
    # The deviations have heavy tails.
    tails = 0.1 * np.exp(random.normal(size=500))
    assert not any(judged(-10 + tails / 20 * random.normal(size=500), tails, tails / 20))
    assert not any(judged(-1.5 * np.arange(50), np.ones(50)))


@pytest.mark.parametrize("seed", range(5))
def test_noise_that_shrinks_is_plausible(seed):
    """Losses that were low by chance count with the error that they had."""
    deviations = 0.3 * 0.75 ** np.arange(60) + 1e-6
    errors = deviations / np.sqrt(128)
    losses = -10 + errors * np.random.default_rng(seed).normal(size=60)
    assert not any(judged(losses, deviations, errors))


def test_rounding_errors_of_losses_that_vanish_are_plausible():
    random = np.random.default_rng(0)
    down = 0.5 ** np.arange(100) + 4e-16 * random.normal(size=100)
    assert not any(judged(down, np.abs(down), error=0.0))
    assert not any(judged(4e-16 * random.normal(size=50), np.full(50, 1e-16), error=0.0))


@pytest.mark.parametrize("strange", [0.0, np.nan, np.inf])
def test_deviations_that_tell_nothing_are_no_reference(strange):
    deviations = [1.0, 1.0, strange, 1.0, 1.0]
    assert not any(judged([-10, -10.1, -10.2, -10.0, -10.1], deviations))
    assert not any(judged([-10, -10.3, -10.4], [strange, 1.0, 1.0], error=0.1))
    assert judged([-10, -10, np.nan], [strange, strange, 1.0]) == [False, False, True]


def test_losses_that_are_no_numbers_are_forgotten():
    # The first loss has nothing to be compared with, and neither has that after going back.
    first = judged([np.nan, -10, -10.1, -10.2, -10.1, 90], np.ones(6))
    assert first == [False, False, False, False, False, True]
    twice = judged([-10, np.nan, np.nan, -10, -10.1, -10.1], np.ones(6))
    assert twice == [False, True, False, False, False, False]


def test_few_chains_have_an_error_bar_too():
    state = mc_state(MODEL, HILBERT, n_samples=8, seed=0, sampler_seed=1)
    driver = VMC(ISING, 0.01, variational_state=state, update=SR(0.1))
    run(driver, 2)
    assert not np.isfinite(driver.loss.error_of_mean)
    control = driver.carry.control
    expected = np.sqrt(driver.loss.variance / 8)
    assert control.error == pytest.approx(expected)


@pytest.mark.parametrize("rule", [SPRING(1e-3), MARCH(1e-3)])
def test_momenta_are_those_of_shortened_steps(rule):
    long, free = summed(3.0, rule), summed(3.0, rule, step_control=None)
    scale = run(long, 1)["info"]["step_scale"].values[0]
    run(free, 1)
    assert scale < 0.9
    np.testing.assert_allclose(
        long.rule_state.previous, scale * free.rule_state.previous, rtol=1e-10
    )


@pytest.mark.parametrize("rule", [SPRING(1e-3), MARCH(1e-3)])
@pytest.mark.medium
def test_directions_do_not_grow_where_steps_are_shortened(rule):
    driver = sampled(0.5, rule)
    log = run(driver, 80)
    assert np.sum(np.asarray(log["info"]["step_scale"].values) < 1) > 40
    exact = -7.29623
    assert np.mean(log["Energy"]["Mean"][-20:].real) < 0.9 * exact
    assert np.all(np.abs(log["Energy"]["Mean"][20:] - exact) < 3)


def test_parameters_that_a_callback_puts_in_stay():
    driver = summed(0.01, SR(0.1))
    run(driver, 20)
    bad = jax.tree.map(lambda leaf: leaf + 1.0, driver.state.parameters)
    driver.parameters = bad
    log = run(driver, 2)
    assert not any(went_back(log, 2))
    assert log["Energy"]["Mean"][0].real > -5


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_infidelity": 1.0}, ValueError, "must be below 1"),
        ({"max_infidelity": 0}, ValueError, "above 0"),
        ({"max_jump": -1}, ValueError, "above 0"),
        ({"max_jump": "much"}, TypeError, "must be a number"),
    ],
)
def test_bounds_that_are_none_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        StepControl(**options)


def test_only_a_step_control_is_taken():
    with pytest.raises(TypeError, match="must be a ritz.updates.StepControl or None"):
        summed(0.1, step_control=0.2)
