"""Samples of |psi|^a with their weights, against full sums."""

import dataclasses

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.lattice import VMC, Evaluation, MetropolisLocal, mc_state
from ritz.lattice.sampling.weights import chain_statistics, importance_weights, unequal_power
from ritz.updates import KFAC, MARCH, SPRING, SR, Gradient, MinSR, Problem
from tests.lattice.models import HILBERT, ISING, N_SITES, SGD, assert_trees_close, run

pytestmark = pytest.mark.netket

MODEL = nk.models.RBM(
    alpha=1, param_dtype=complex, kernel_init=jax.nn.initializers.normal(0.4),
    hidden_bias_init=jax.nn.initializers.normal(0.4),
)  # fmt: skip
ALL = jnp.asarray(HILBERT.all_states())
FULL = nk.vqs.FullSumState(HILBERT, MODEL, seed=1)
PSI = np.asarray(FULL.to_array())
BORN = np.abs(PSI) ** 2
ENERGIES = (ISING.to_sparse() @ PSI) / PSI
EXACT = float(np.sum(BORN * ENERGIES).real)
RULES = [
    Gradient(),
    SR(1e-2),
    MinSR(1e-2),
    SPRING(1e-2, 0.9),
    MARCH(1e-2, 0.8),
    KFAC(1e-2, norm_constraint=None),
]
names = {"ids": lambda rule: type(rule).__name__}


def weighted_state(power, n_samples=64, sampler=MetropolisLocal, **options):
    sampler = sampler(HILBERT, machine_pow=power, **options)
    state = nk.vqs.MCState(sampler, MODEL, n_samples=n_samples, seed=1, sampler_seed=2)
    state.parameters = FULL.parameters
    return state


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_errors_of_weighted_means_are_right_and_their_bias_is_taken_away(power):
    """Of many steps of few samples: the spread is the error bar, and the mean is exact."""
    rng, n_steps, n = np.random.default_rng(0), 16_000, 32
    numbers = rng.choice(
        len(PSI), (n_steps, n), p=np.abs(PSI) ** power / np.sum(np.abs(PSI) ** power)
    )

    def one(number):
        weights = importance_weights(jnp.log(jnp.asarray(PSI))[number], jnp.asarray(power))
        values = jnp.asarray(ENERGIES)[number].reshape(n, 1)
        return chain_statistics(values, weights)[0], jnp.sum(weights * values.ravel())

    stats, plain = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(numbers))
    means, errors = np.real(stats.mean), np.real(stats.error_of_mean)
    standard = np.std(means) / np.sqrt(n_steps)
    assert abs(np.mean(means) - EXACT) < 4 * standard
    # Without the correction the mean of the steps would not be trusted.
    assert np.mean(plain.real) - EXACT < (-5 if power == 1 else -3) * standard
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.std(stats.mean), rel=0.06)
    variance = np.sum(BORN * np.abs(ENERGIES - EXACT) ** 2)
    found = np.mean(stats.variance) + np.var(stats.mean)
    assert found == pytest.approx(variance, abs=4 * np.std(stats.variance) / np.sqrt(n_steps))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("power", "sampler", "options"),
    [
        (1.0, MetropolisLocal, {"n_chains": 512}),
        pytest.param(1.5, nk.sampler.MetropolisLocal, {"n_chains": 16}, marks=pytest.mark.slow),
        pytest.param(1.0, nk.sampler.ExactSampler, {}, marks=pytest.mark.slow),
    ],
    ids=["Ritz", "NetKet", "exact"],
)
def test_energies_and_observables_of_an_evaluation(power, sampler, options):
    flip = nk.operator.spin.sigmax(HILBERT, 0)
    state = weighted_state(power, 512, sampler, **options)
    observables = {"flip": flip, "up": lambda params, x: jnp.sum(x > 0), "sites": lambda p, x: x}
    driver = Evaluation(ISING, variational_state=state, observables=observables)
    driver.burn_in(20)
    data = run(driver, 50)
    magnetisation = np.sum(BORN[:, None] * np.asarray(ALL), axis=0)
    exact = {
        "Energy": EXACT,
        "flip": FULL.expect(flip).mean.real,
        "up": np.sum(magnetisation) / 2 + N_SITES / 2,
        "sites": magnetisation,
    }
    for name, value in exact.items():
        means = np.real(np.asarray(data[name]["Mean"]))
        spread = np.std(means, axis=0) / np.sqrt(len(means))
        assert np.all(np.abs(np.mean(means, axis=0) - value) < 4.5 * spread), name
    moments = driver.chain_moments
    assert set(moments) == {"Energy", "flip", "up"}
    mean_of_chains = np.mean(moments["Energy"].mean)
    np.testing.assert_allclose(mean_of_chains, np.mean(data["Energy"]["Mean"].real), rtol=1e-10)
    expected = 1 / (np.sum(np.abs(PSI) ** power) * np.sum(np.abs(PSI) ** (4 - power)))
    assert np.mean(data["ess"].values) == pytest.approx(expected, rel=0.03)
    energy = driver.estimate({"Energy": ISING, "up": observables["up"]})
    assert abs(energy["Energy"].mean.real - EXACT) < 5 * energy["Energy"].error_of_mean
    assert abs(energy["up"].mean - exact["up"]) < 5 * energy["up"].error_of_mean


def slow(rule):
    return pytest.param(rule, marks=pytest.mark.slow)


PROBLEM = Problem(
    lambda params, x: MODEL.apply({"params": params}, x),
    FULL.parameters,
    ALL,
    jnp.asarray(ENERGIES),
    jnp.asarray(BORN),
)


def second_direction(rule):
    """The direction of a rule at its second step on the same samples, as a vector."""

    @jax.jit
    def second(samples, energies, weights):
        here = dataclasses.replace(PROBLEM, samples=samples, losses=energies, weights=weights)
        state = rule.init(here.params, here)
        for _ in range(2):
            direction, state, _ = rule.update(state, here, here.params, jax.random.key(0))
        return here.to_vector(direction)

    return second


@pytest.mark.medium
@pytest.mark.parametrize(
    "rule",
    [
        Gradient(),
        SR(1e-1),
        KFAC(1e-1, norm_constraint=None),
        slow(SPRING(1e-1, 0.9)),
        slow(MARCH(1e-1, 0.8)),
    ],
    **names,
)
def test_directions_agree_with_a_full_sum_within_their_errors(rule):
    """From 24 times 1,024 samples of |psi|."""
    rng, n, n_repeats = np.random.default_rng(1), 1024, 24
    second, p = second_direction(rule), np.abs(PSI) / np.sum(np.abs(PSI))
    exact, found, ignored = second(ALL, ENERGIES, BORN), [], []
    for _ in range(n_repeats):
        number = rng.choice(len(p), n, p=p)
        weights = importance_weights(jnp.log(jnp.asarray(PSI[number])), jnp.asarray(1.0))
        found.append(second(ALL[number], ENERGIES[number], weights))
        ignored.append(second(ALL[number], ENERGIES[number], jnp.full(n, 1 / n)))
    errors = np.std(found, axis=0, ddof=1) / np.sqrt(n_repeats)
    z, without = (np.abs(np.mean(one, axis=0) - exact) / errors for one in (found, ignored))
    # Student's t with 23 degrees of freedom, and a bias of order 1/n of rules that are not linear.
    assert np.max(z) < 5 and np.sqrt(np.mean(z**2)) < 1.4
    assert np.sqrt(np.mean(without**2)) > 10


@pytest.mark.medium
def test_weighted_directions_of_sr_and_minsr_are_the_same():
    number = np.random.default_rng(3).choice(len(PSI), 64)
    weights = importance_weights(jnp.log(jnp.asarray(PSI[number])), jnp.asarray(0.5))
    given = ALL[number], ENERGIES[number], weights
    one, other = (second_direction(rule)(*given) for rule in (SR(1e-2), MinSR(1e-2)))
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


class AllStates(LambdaCallback):
    """Every configuration once: exact samples of |psi|^0."""

    def __init__(self):
        super().__init__(
            on_compute_update_start=lambda step, _, driver: setattr(driver.state, "_samples", ALL)
        )


def uniform_and_exact(rule):
    """A driver on samples of |psi|^0, and one on a full sum."""
    exact = nk.vqs.FullSumState(HILBERT, MODEL, seed=1)
    options = {"update": rule, "observables": {"flip": nk.operator.spin.sigmax(HILBERT, 0)}}
    for state in (weighted_state(0.0, n_chains=16), exact):
        yield VMC(ISING, SGD, variational_state=state, **options)


@pytest.mark.medium
@pytest.mark.parametrize("rule", RULES, **names)
def test_uniform_samples_of_all_configurations_are_a_full_sum(rule):
    """Weights reach every part of a step: parameters, memory of the rule, trials, observables."""
    weighted, exact = uniform_and_exact(rule)
    trials = []
    look = LambdaCallback(
        on_compute_update_end=lambda s, _, d: trials.append(d.trial_loss(d.update)) and False
    )
    data, expected = run(weighted, 3, callback=[AllStates(), look]), run(exact, 3, callback=look)
    assert_trees_close(weighted.parameters, exact.parameters, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(trials[:3], trials[3:], rtol=1e-6)
    assert data["ess"].values[0] == pytest.approx(1 / (len(ALL) * np.sum(BORN**2)), rel=1e-8)
    flip = nk.operator.spin.sigmax(HILBERT, 0).to_sparse()
    for name, values in (("Energy", ENERGIES), ("flip", (flip @ PSI) / PSI)):
        # Rows have the mean without the bias of a sample, which this one does not have.
        assert data[name]["Mean"][0] == pytest.approx(jackknife(values), rel=1e-8)
        variance = np.sum(BORN * np.abs(values - np.sum(BORN * values)) ** 2)
        assert expected[name]["Variance"][0] == pytest.approx(variance, rel=1e-8)


def jackknife(values):
    """n times the weighted mean, less n - 1 times the average of those without one sample."""
    n, means = len(values), []
    for k in range(n):
        kept = np.arange(n) != k
        means.append(np.sum((BORN * values)[kept]) / np.sum(BORN[kept]))
    return n * np.sum(BORN * values) - (n - 1) * np.mean(means)


@pytest.mark.medium
def test_few_effective_samples_are_suspect(caplog):
    state = weighted_state(0.0, 512, n_chains=512)
    state.parameters = jax.tree.map(lambda leaf: 8 * leaf, state.parameters)
    data = run(VMC(ISING, SGD, variational_state=state, update=Gradient()), 1)
    assert data["ess"].values[0] < 0.02 and "ess" in data["suspect"].values[0]
    assert "try a machine_pow nearer to 2" in caplog.text


def test_a_lower_power_helps_near_nodes():
    """The gradient has less noise, as samples are drawn where psi is small."""
    rng, n = np.random.default_rng(2), 100_000
    near = np.asarray(ALL)[:, 0] < 0
    psi = np.where(near, 1e-2 * np.abs(PSI), np.abs(PSI))
    psi /= np.linalg.norm(psi)
    energies = (ISING.to_sparse() @ psi) / psi
    mean = np.sum(psi**2 * energies)
    slope = np.where(near, 1 / psi, 0)  # of log psi by an addition to the small amplitudes
    values = slope * (energies - mean)
    exact = np.sum(psi**2 * values)
    noise, plain = {}, {}
    for power in (2.0, 1.0):
        p = psi**power / np.sum(psi**power)
        ratio = psi**2 / p
        noise[power] = np.sqrt(np.sum(p * ratio**2 * np.abs(values - exact) ** 2) / n)
        plain[power] = np.sqrt(np.sum(p * ratio**2 * np.abs(energies - mean) ** 2) / n)
        number = rng.choice(len(p), n, p=p)
        weights = importance_weights(jnp.log(psi[number]), jnp.asarray(power))
        stats, _ = chain_statistics(jnp.asarray(values[number])[:, None], weights)
        if power == 1.0:
            assert abs(stats.mean - exact) < 4 * stats.error_of_mean
    assert noise[1.0] < 0.05 * noise[2.0] and plain[1.0] < 0.9 * plain[2.0]


def test_variances_are_never_negative():
    random = np.random.default_rng(0)
    for heavy in (0.3, 0.7, 1.0):
        weights = np.full(64, (1 - heavy) / 63)
        weights[0] = heavy
        stats, _ = chain_statistics(jnp.array(random.normal(size=64)), jnp.array(weights))
        assert np.isfinite(stats.variance) and stats.variance >= 0


def test_powers_that_cannot_be_sampled_are_refused():
    with pytest.raises(ValueError, match="machine_pow must be a number of at least 0, but -1"):
        mc_state(MODEL, HILBERT, n_samples=8, machine_pow=-1)
    with pytest.raises(ValueError, match="machine_pow must be a number of at least 0, but nan"):
        MetropolisLocal(HILBERT, machine_pow=float("nan"))
    state = weighted_state(float("nan"), 16, nk.sampler.MetropolisLocal)
    with pytest.raises(ValueError, match="machine_pow must be a finite number of at least 0, but"):
        VMC(ISING, SGD, variational_state=state)


def test_the_power_of_autoregressive_models_is_their_own():
    model = nk.models.ARNNDense(hilbert=HILBERT, layers=1, features=2, machine_pow=1)
    state = nk.vqs.MCState(nk.sampler.ARDirectSampler(HILBERT), model, n_samples=8)
    assert unequal_power(state) == 1.0
    assert unequal_power(mc_state(MODEL, HILBERT, n_samples=8)) is None
    assert unequal_power(mc_state(MODEL, HILBERT, n_samples=8, machine_pow=1.5)) == 1.5


@pytest.mark.medium
def test_numbers_of_single_precision_stay_so_in_the_sampler():
    model = nk.models.RBM(alpha=1, param_dtype=np.float32)
    for sampled in (model, nk.models.RBMModPhase(alpha=1, param_dtype=np.float32)):
        state = mc_state(sampled, HILBERT, n_samples=8, machine_pow=1.5)
        assert state.samples.shape == (8, 1, N_SITES)
        assert state.sampler_state.log_prob.dtype == np.float32
