"""Overlaps of several states and the gradients of their penalties, against exact integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.molecule import LogPsi
from ritz.molecule.multistate.overlap import is_below, overlaps, penalty_weights
from ritz.molecule.multistate.stacking import state_of
from ritz.updates import Problem

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
