"""Several states in one run: overlaps, their penalties, and the energies of excited states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.checkpoint import Checkpoint
from ritz.loggers import RuntimeLog
from ritz.molecule import (
    VMC,
    Evaluation,
    FermiNet,
    LogPsi,
    Molecule,
    Pretraining,
    SpinSquared,
    energy_levels,
    excited_orbitals,
)
from ritz.molecule.kernel import Samples
from ritz.molecule.multistate.overlap import is_below, overlaps, penalty_weights
from ritz.molecule.multistate.stacking import state_of
from ritz.stages import Digest
from ritz.testing import check_driver
from ritz.updates import KFAC, SPRING, SR, Problem

# Positions on a grid, with the weights of Gauss-Hermite quadrature, stand for samples below: all
# overlaps of harmonic oscillators are integrals of polynomials with Gaussians.
NODES, GAUSS = np.polynomial.hermite.hermgauss(24)


def oscillator(params, x):
    """(c_0 + c_1 x + c_2 x^2) exp(-a x^2 / 2) in one dimension; i c_3 x makes it complex."""
    z = x[0, 0]
    c = params["c"]
    value = (c[0] + c[1] * z + c[2] * z**2 + 1j * c[3] * z) * jnp.exp(-params["a"] * z**2 / 2)
    return value / jnp.abs(value), jnp.log(jnp.abs(value))


def real_oscillator(params, x):
    """The same without its imaginary part."""
    z, c = x[0, 0], params["c"]
    value = (c[0] + c[1] * z + c[2] * z**2) * jnp.exp(-params["a"] * z**2 / 2)
    return jnp.sign(value), jnp.log(jnp.abs(value))


STATES = [
    {"c": [1.0, 0.3, 0.2, 0.1], "a": 1.0},
    {"c": [0.2, 1.5, -0.3, 0.4], "a": 1.3},
    {"c": [-0.4, 0.8, 1.1, -0.6], "a": 0.9},
]


def parameters(states=STATES):
    return {name: jnp.asarray([state[name] for state in states]) for name in states[0]}


def on_grid(log_psi, params):
    """Quadrature points for each state as walkers, with their probabilities."""
    n_states = len(params["a"])
    places = NODES / jnp.sqrt(params["a"])[:, None]
    electrons = jnp.zeros((n_states, len(NODES), 1, 3)).at[..., 0, 0].set(places)
    logs = jnp.stack(
        [jnp.real(log_psi(state_of(params, k), electrons[k])) for k in range(n_states)]
    )
    weights = jax.nn.softmax(2 * logs + NODES**2 + np.log(GAUSS), axis=1)
    return electrons, weights


def exact_squared(psi, first, second):
    """S^2 of two oscillators by quadrature on one fine grid, which differentiates."""
    z = jnp.linspace(-12, 12, 2001)
    x = jnp.zeros((len(z), 1, 3)).at[:, 0, 0].set(z)

    def values(params):
        sign, log = jax.vmap(psi, (None, 0))(params, x)
        return sign * jnp.exp(log)

    a, b = values(first), values(second)
    inner = jnp.vdot(a, b)
    return jnp.abs(inner) ** 2 / (jnp.vdot(a, a).real * jnp.vdot(b, b).real)


@pytest.mark.parametrize(("psi", "is_complex"), [(oscillator, True), (real_oscillator, False)])
def test_overlaps_and_the_gradient_of_their_penalties_are_exact(psi, is_complex):
    """The sum over walkers is a quadrature here, so that nothing is left to chance."""
    log_psi = LogPsi(psi, is_complex)
    energies = np.array([0.3, 0.1, 0.2])  # of which that of state 1 is the lowest
    matrix = penalty_weights([[0, 1.5, 0.7], [1.5, 0, 2.5], [0.7, 2.5, 0]], 3)

    def estimated(params):
        """Squared overlaps, penalties, and the gradients that update rules compute of them."""
        electrons, probabilities = on_grid(log_psi, params)
        found = overlaps(log_psi, params, electrons, probabilities)
        losses = found.penalties(energies, matrix)
        problems = [
            Problem(log_psi, state_of(params, j), electrons[j], losses[j], probabilities[j])
            for j in range(3)
        ]
        means = jnp.sum(probabilities * losses, axis=1)
        return found.squared, means.real, [problem.gradient() for problem in problems]

    def penalty(one, j, params):
        """By the overlaps of state j, with the parameters `one`, with all lower ones."""
        return sum(
            matrix[j][i] * exact_squared(psi, state_of(params, i), one)
            for i in np.flatnonzero(energies < energies[j])
        )

    def exact(params):
        every = [state_of(params, j) for j in range(3)]
        squared = [[exact_squared(psi, a, b) for b in every] for a in every]
        found = [jax.value_and_grad(penalty)(every[j], j, params) for j in (0, 2)]
        return jnp.asarray(squared), *zip(*found, strict=True)

    with jax.enable_x64(True):
        squared, means, gradients = jax.jit(estimated)(parameters())
        expected, penalties, slopes = jax.jit(exact)(parameters())
    assert expected[0, 1] > 0.01 and expected[1, 2] > 0.01 and expected[0, 2] > 0.01
    np.testing.assert_allclose(squared, expected, rtol=1e-9)
    np.testing.assert_allclose(means, [penalties[0], 0, penalties[1]], rtol=1e-9, atol=1e-14)
    for found, slope in zip((gradients[0], gradients[2]), slopes, strict=True):
        for name in ("a", "c"):
            assert np.max(np.abs(slope[name])) > 0.05
            np.testing.assert_allclose(found[name], slope[name], rtol=1e-7, atol=1e-10)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients[1]))  # it is the lowest


def test_overlaps_have_no_units_and_no_bias_and_errors_that_hold():
    """Of eigenstates of the oscillator, moved: <0|1 moved by d>^2 = d^2 / 2 exp(-d^2 / 2)."""
    d = 0.8

    def psi(params, x):
        z = x[0, 0] - params["d"]
        value = jnp.where(params["n"] > 0, z, 1.0)
        return jnp.sign(value), jnp.log(jnp.abs(value)) - z**2 / 2 + params["size"]

    params = {
        "n": jnp.asarray([0.0, 1.0, 0.0]), "d": jnp.asarray([0.0, d, 0.0]),
        "size": jnp.asarray([200.0, -300.0, 5.0]),
    }  # fmt: skip
    random = np.random.default_rng(1)
    n_runs, n = 200, 100
    zero = random.normal(size=(2, n_runs, n)) / np.sqrt(2)
    one = np.sqrt(random.gamma(1.5, size=(n_runs, n))) * random.choice([-1, 1], (n_runs, n)) + d
    walkers = np.zeros((n_runs, 3, n, 1, 3))
    walkers[..., 0, 0] = np.stack([zero[0], one, zero[1]], axis=1)

    def estimated(walkers):
        found = overlaps(LogPsi(psi), params, walkers)
        return found.squared, found.errors, found.rows()

    with jax.enable_x64(True):
        squared, errors, rows = jax.jit(lambda every: jax.lax.map(estimated, every))(walkers)
    exact = d**2 / 2 * np.exp(-(d**2) / 2)
    mean, spread = np.mean(squared[:, 0, 1]), np.std(squared[:, 0, 1])
    assert abs(mean - exact) < 4.5 * spread / np.sqrt(n_runs)
    assert np.sqrt(np.mean(np.square(errors[:, 0, 1]))) == pytest.approx(spread, rel=0.25)
    np.testing.assert_allclose(squared[:, 0, 2], 1, rtol=1e-12)  # identical states, other norms
    assert set(rows) == {"overlap_0_1", "overlap_0_2", "overlap_1_2"}
    np.testing.assert_allclose(rows["overlap_0_1"].mean, squared[:, 0, 1])


def test_the_lower_state_is_the_first_of_equal_ones():
    found = np.asarray(is_below(jnp.asarray([0.5, 0.5, 0.1])))
    np.testing.assert_array_equal(found, [[0, 1, 0], [0, 0, 0], [1, 1, 0]])


def shells(params, x):
    """(c_0 + c_1 r + c_2 z) exp(-a r), which 1s, 2s and 2p of hydrogen are."""
    r, c = jnp.linalg.norm(x[0]), params["c"]
    value = c[0] + c[1] * r + c[2] * x[0, 2]
    return jnp.sign(value), jnp.log(jnp.abs(value)) - params["a"] * r


def hydrogen(n_states=3, kind=VMC, **settings):
    begin = {
        "a": jnp.asarray([0.9, 0.6, 0.6]), "c": jnp.asarray([[1, 0, 0], [1, -0.4, 0.3], [0.5, 0, 1.0]]),
    }  # fmt: skip
    params = jax.tree.map(lambda x: x[:n_states], begin)
    more = {"update": SR(1e-3), "optimizer": 0.1} if kind is VMC else {}
    settings = {"params": params, "n_walkers": 128, "dtype": "float64", **more, **settings}
    return kind(Molecule("H"), shells, n_states=n_states, **settings)


@pytest.fixture(scope="module")
def levels_of_hydrogen():
    driver = hydrogen(n_walkers=512)
    driver.burn_in(50)
    log = RuntimeLog()
    driver.run(400, out=log, show_progress=False)
    return driver, log.data


def test_three_states_of_hydrogen(levels_of_hydrogen):
    """1s, 2s and 2p: -1/2 and twice -1/8, orthogonal, and without variance."""
    driver, rows = levels_of_hydrogen
    found = np.sort([np.mean(rows[f"energy_{k}"]["Mean"][-50:]) for k in range(3)])
    np.testing.assert_allclose(found, [-0.5, -0.125, -0.125], atol=1e-3)
    for pair in ("0_1", "0_2", "1_2"):
        assert abs(np.mean(rows[f"overlap_{pair}"]["Mean"][-50:])) < 3e-3
    energies = sum(rows[f"energy_{k}"]["Mean"] for k in range(3))
    penalties = 2.0 * sum(rows[f"overlap_{pair}"]["Mean"] for pair in ("0_1", "0_2", "1_2"))
    np.testing.assert_allclose(rows["energy"]["Mean"], (energies + penalties) / 3, rtol=1e-9)
    assert driver.state.electrons.shape == (3, 512, 1, 3) and driver.state.n_walkers == 512
    assert len(driver.estimate(lambda params, x: jnp.sum(x**2))) == 3


def test_levels_of_an_evaluation_and_of_one_state_alone(levels_of_hydrogen):
    driver, _ = levels_of_hydrogen
    settings = {"n_walkers": 512, "electrons": driver.state.electrons, "params": driver.parameters}
    evaluation = hydrogen(kind=Evaluation, **settings)
    digest = Digest(moments=lambda driver: driver.chain_moments, folder=None)
    evaluation.run(40, callback=digest, show_progress=False)
    estimates = digest.estimates(evaluation)
    low, *high = energy_levels(estimates)
    assert low.excitation == low.excitation_error == 0
    for level in high:
        assert level.excitation_ev == pytest.approx(0.375 * 27.2114, abs=0.05)
        assert level.excitation_error == pytest.approx(np.hypot(level.error, low.error))
    assert abs(estimates["overlap_0_1"].mean) < 4.5 * estimates["overlap_0_1"].error + 1e-3
    assert estimates["energy_2"].n_samples == 512 * 40 and estimates["energy_2"].r_hat < 1.1
    one = driver.state.of_state(high[0].state)
    alone = Evaluation(
        Molecule("H"), shells, one.parameters, electrons=one.electrons, dtype="float64"
    )
    alone.run(10, out=(log := RuntimeLog()), show_progress=False)
    assert np.mean(log["energy"]["Mean"]) == pytest.approx(high[0].energy, abs=2e-3)
    with pytest.raises(ValueError, match="state must be a number from 0 to 2, but 3"):
        driver.state.of_state(3)
    with pytest.raises(ValueError, match="energy_0 is missing among energy, kinetic"):
        energy_levels(dict.fromkeys(["energy", "kinetic"]))


def test_what_every_driver_must_do():
    check_driver(lambda: hydrogen(2, n_walkers=16))


@pytest.mark.bits
def test_blocks_live_steps_and_resumed_runs_have_the_same_bits(tmp_path):
    def leaves(driver):
        key = driver.carry.key
        carry = driver.snapshot()._replace(key=jax.random.key_data(key))
        return jax.tree.leaves((carry.params, carry.key, carry.rule_state, driver.state.electrons))

    blocks, live = hydrogen(2, n_walkers=16), hydrogen(2, n_walkers=16)
    blocks.run(7, show_progress=False)
    for _ in live.steps(7):
        pass
    for n in (4, 7):
        resumed = hydrogen(2, n_walkers=16)
        saving = Checkpoint(tmp_path, every_steps=2, extend="longer")
        resumed.run(n, callback=saving, resume=True, show_progress=False)
    for driver in (live, resumed):
        for one, other in zip(leaves(blocks), leaves(driver), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"overlap_penalty.* was .*, is "):
        hydrogen(2, n_walkers=16, overlap_penalty=1.0).run(
            9, callback=Checkpoint(tmp_path), resume=True, show_progress=False
        )


@pytest.mark.parametrize("update", [SPRING(), KFAC()])
def test_rules_see_each_state_as_if_it_were_alone(update):
    """The lowest state has no penalty, and its direction is that of its own walkers."""
    molecule = Molecule("H2")
    network = FermiNet(molecule, hidden=((4, 2),), n_determinants=1, dtype=jnp.float64)
    driver = VMC(
        molecule, network, update=update, n_walkers=16, dtype="float64", n_states=2, seed=2
    )
    kernel, carry = driver.kernel, driver.carry
    with jax.enable_x64(True):
        samples = Samples(driver.state.electrons, {"acceptance": jnp.full(2, 0.5)})
        _, proposal = jax.jit(kernel.propose)(carry, samples)
        energies = [float(proposal.metrics[f"energy_{k}"].mean) for k in range(2)]
        low = int(np.argmin(energies))
        params, rule_state = state_of((carry.params, carry.rule_state), low)
        electrons = samples.electrons[low]

        @jax.jit
        def alone(params, electrons, rule_state):
            losses = kernel.one.sampling.values(params, Samples(electrons, {}))["energy"]
            return kernel.one.direction(
                params, electrons, losses, rule_state, carry.key, damping_scale=1.0
            )[0]

        expected = alone(params, electrons, rule_state)
        for a, b in zip(
            *map(jax.tree.leaves, (state_of(proposal.update, low), expected)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_the_trial_loss_of_no_step_is_the_loss_with_its_penalties():
    driver = hydrogen(3, n_walkers=64)
    losses, seen = [], []

    def look(step, log_data, driver):
        losses.append(log_data["energy"].mean)
        none = jax.tree.map(jnp.zeros_like, driver.update)
        seen.append(float(driver.trial_loss(none)))

    driver.run(2, callback=LambdaCallback(before_parameter_update=look), show_progress=False)
    np.testing.assert_allclose(seen, losses, rtol=1e-10)


def begun(name, n_states, same_spin=False, **sizes):
    """A network of a molecule, and what pretraining on Slater's or Hartree-Fock orbitals gives."""
    molecule = Molecule(name)
    network = FermiNet(molecule, **sizes)
    drivers = []
    for orbitals in excited_orbitals(molecule, n_states, same_spin=same_spin):
        driver = Pretraining(molecule, network, orbitals, n_walkers=256)
        driver.burn_in(50)
        driver.run(300, show_progress=False)
        drivers.append(driver)
    return molecule, network, {
        "params": [driver.parameters for driver in drivers],
        "electrons": np.stack([driver.state.electrons for driver in drivers]),
        "n_walkers": 256,
        "n_states": n_states,
    }  # fmt: skip
