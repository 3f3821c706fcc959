"""Update rules against dense references in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ritz.testing import check_update
from ritz.testing.updates import small_problem
from ritz.updates import (
    CG,
    KFAC,
    MARCH,
    SPRING,
    SR,
    Cholesky,
    Gradient,
    MinSR,
    Problem,
    PseudoInverse,
    stochastic_reconfiguration,
)
from ritz.updates.problem import default_mode

MODES = ["real", "complex", "holomorphic"]
RULES = [Gradient(), SR(), MinSR(), SPRING(norm_cap=1.0), MARCH(), KFAC(largest_exact=5)]
KEY = jax.random.key(0)


@pytest.mark.medium
@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_conformance(rule):
    check_update(rule, tuple(MODES))


def test_stochastic_reconfiguration_takes_the_smaller_space():
    default = {"relative_shift": 1e-6}
    assert stochastic_reconfiguration(5, 4, diag_shift=0.1) == MinSR(diag_shift=0.1, **default)
    assert stochastic_reconfiguration(4, 4, solver=CG()) == SR(solver=CG(), **default)
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, but 0"):
        stochastic_reconfiguration(4, 0)


@pytest.mark.parametrize("kind", [SR, MinSR, SPRING, MARCH])
def test_a_solver_is_a_function(kind):
    with pytest.raises(TypeError, match="solver must be a function .*, but 'cholesky' was given"):
        kind(solver="cholesky")
    with pytest.raises(TypeError, match=r"such as Cholesky\(\) .*, but the class CG was given"):
        kind(solver=CG)


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="mode")
def update(rule, log_psi, state, params, *data, **settings):
    return rule.update(state, Problem(log_psi, params, *data, **settings), params, KEY)


def step(rule, problem, state=None):
    """What `rule.update` gives, by a program that tests share."""
    state = rule.init(problem.params, problem) if state is None else state
    return update(
        rule,
        problem.log_psi,
        state,
        problem.params,
        problem.samples,
        problem.losses,
        problem.weights,
        mode=problem.mode,
        damping_scale=problem.damping_scale,
    )


def direction(rule, problem, state=None):
    """The direction as a vector, and the new state."""
    tree, state, info = step(rule, problem, state)
    assert jax.tree.structure(tree) == jax.tree.structure(problem.params)
    return np.asarray(problem.to_vector(tree)), state, info


def scores_of(problem):
    return jax.jit(problem.scores)()


def finite_difference_scores(problem, step=1e-6):
    """O and e by their definitions, derivatives by central differences."""
    vector = np.asarray(problem.to_vector(problem.params))
    log_psi = jax.jit(lambda v: problem.log_psi(problem.to_parameters(v), problem.samples))
    columns = []
    for k in range(len(vector)):
        shift = np.zeros_like(vector)
        shift[k] = step
        plus = log_psi(jnp.asarray(vector + shift))
        minus = log_psi(jnp.asarray(vector - shift))
        columns.append((np.asarray(plus) - np.asarray(minus)) / (2 * step))
    scores = np.stack(columns, axis=1)
    p = np.full(problem.n_samples, 1 / problem.n_samples)
    if problem.weights is not None:
        p = np.asarray(problem.weights)
    losses = np.asarray(problem.losses)
    scores = (scores - p @ scores) * np.sqrt(p)[:, None]
    residuals = 2 * (losses - p @ losses) * np.sqrt(p)
    if problem.mode == "real":
        return scores.real, residuals.real
    if problem.mode == "complex":
        return np.concatenate([scores.real, scores.imag]), np.concatenate(
            [residuals.real, residuals.imag]
        )
    return scores, residuals


def weighted(problem):
    weights = np.random.default_rng(7).uniform(0.1, 1, problem.n_samples)
    return Problem(
        problem.log_psi,
        problem.params,
        problem.samples,
        problem.losses,
        jnp.asarray(weights / weights.sum()),
        problem.mode,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weights", [False, True])
def test_scores_and_residuals_are_what_they_say(mode, weights):
    problem = small_problem(mode)
    problem = weighted(problem) if weights else problem
    scores, residuals = finite_difference_scores(problem)
    np.testing.assert_allclose(scores_of(problem), scores, atol=1e-8)
    np.testing.assert_allclose(problem.residuals, residuals, atol=1e-13)


@pytest.mark.medium
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk_size", [1, 5, 24, 100])
def test_chunks_change_nothing(mode, chunk_size):
    problem = small_problem(mode)
    longest = []

    def log_psi(params, samples):
        longest.append(len(samples))
        return problem.log_psi(params, samples)

    chunked = Problem(
        log_psi, problem.params, problem.samples, problem.losses, mode=mode, chunk_size=chunk_size
    )
    gradient = jax.jit(chunked.gradient)()
    assert max(longest) == min(chunk_size, problem.n_samples)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(problem.gradient()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(scores_of(chunked), scores_of(problem), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_that_of_the_loss(mode):
    problem = weighted(small_problem(mode))
    expected = problem.to_parameters(scores_of(problem).conj().T @ problem.residuals)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
        problem.gradient(),
        expected,
    )


@pytest.mark.medium
@pytest.mark.parametrize("mode", MODES)
def test_sr_and_minsr_against_a_dense_solve(mode):
    problem = small_problem(mode)
    o, e = np.asarray(scores_of(problem)), np.asarray(problem.residuals)
    expected = np.linalg.solve(o.conj().T @ o + 1e-3 * np.eye(o.shape[1]), o.conj().T @ e)
    for rule in (SR(1e-3), MinSR(1e-3), SR(1e-3, CG(1e-13)), MinSR(1e-3, PseudoInverse())):
        np.testing.assert_allclose(direction(rule, problem)[0], expected, rtol=1e-7, atol=1e-9)


def least_squares(o, e, shift, metric, kept):
    """argmin_d |O d - e|^2 + shift (d - kept)^+ M (d - kept)."""
    left = o.conj().T @ o + shift * np.diag(metric)
    return np.linalg.solve(left, o.conj().T @ e + shift * metric * kept)


@pytest.mark.parametrize("mode", MODES)
def test_spring_against_its_least_squares_problem(mode):
    rule, state, previous = SPRING(1e-2, momentum=0.9), None, 0.0
    for seed in range(4):
        problem = small_problem(mode, seed)
        o, e = np.asarray(scores_of(problem)), np.asarray(problem.residuals)
        previous = least_squares(o, e, 1e-2, np.ones(o.shape[1]), 0.9 * previous)
        found, state, _ = direction(rule, problem, state)
        np.testing.assert_allclose(found, previous, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_march_against_its_least_squares_problem(mode):
    beta, rule, state = 0.9, MARCH(1e-2, momentum=0.8, beta=0.9), None
    previous, variance, metric = 0.0, 0.0, None
    for seed in range(4):
        problem = small_problem(mode, seed)
        o, e = np.asarray(scores_of(problem)), np.asarray(problem.residuals)
        metric = np.ones(o.shape[1]) if seed == 0 else np.sqrt(variance / (1 - beta**seed)) + 1e-8
        expected = least_squares(o, e, 1e-2, metric, 0.8 * previous)
        found, state, _ = direction(rule, problem, state)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
        variance = beta * variance + (1 - beta) * np.abs(expected - previous) ** 2
        previous = expected


@pytest.mark.medium
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weights", [False, True])
def test_spring_without_momentum_is_minsr(mode, weights):
    problem = small_problem(mode)
    problem = weighted(problem) if weights else problem
    np.testing.assert_allclose(
        direction(SPRING(1e-3, momentum=0.0), problem)[0],
        direction(MinSR(1e-3), problem)[0],
        rtol=1e-9,
        atol=1e-11,
    )


def test_holomorphic_equals_complex_where_both_apply():
    problem = small_problem("holomorphic")
    general = Problem(problem.log_psi, problem.params, problem.samples, problem.losses)
    for rule in (SR(), MinSR(), SPRING()):
        one, two = (step(rule, p)[0] for p in (problem, general))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), one, two)


def test_the_norm_cap_limits_what_is_applied_but_not_what_is_remembered():
    problem = small_problem("real")
    free, free_state, _ = direction(SPRING(), problem)
    norm = np.linalg.norm(free)
    capped, state, info = direction(SPRING(norm_cap=norm / 4), problem)
    np.testing.assert_allclose(capped, free / 4, rtol=1e-12)
    assert float(info["norm_cap_scale"]) == pytest.approx(0.25)
    np.testing.assert_array_equal(state.previous, free_state.previous)
    np.testing.assert_array_equal(direction(SPRING(norm_cap=2 * norm), problem)[0], free)


def test_schedules_follow_the_step():
    schedule = optax.piecewise_constant_schedule(1e-1, {2: 1e-2})
    problem, state = small_problem("real"), None
    for shift in (1e-1, 1e-1, 1e-3):
        found, state, _ = direction(SR(schedule), problem, state)
        np.testing.assert_allclose(found, direction(SR(shift), problem)[0], rtol=1e-9)


def test_damping_scale_multiplies_the_shift():
    problem = small_problem("real")
    scaled = Problem(
        problem.log_psi,
        problem.params,
        problem.samples,
        problem.losses,
        mode="real",
        damping_scale=10.0,
    )
    for rule in (SR, MinSR, SPRING, MARCH):
        np.testing.assert_allclose(
            direction(rule(1e-3), scaled)[0], direction(rule(1e-2), problem)[0], rtol=1e-8
        )


def test_cholesky_falls_back_when_it_fails():
    indefinite = jnp.diag(jnp.array([1.0, -1.0]))
    solution, info = Cholesky()(indefinite, jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(solution, [2.0, -3.0], rtol=1e-12)
    assert bool(info["solver_fallback"])
    solution, info = Cholesky()(jnp.eye(2), jnp.array([2.0, 3.0]))
    assert not bool(info["solver_fallback"])
    solution, info = Cholesky(fallback=None)(indefinite, jnp.array([2.0, 3.0]))
    assert not np.all(np.isfinite(solution)) and info == {}


def test_pseudo_inverse_drops_what_is_singular():
    random = np.random.default_rng(0)
    factor = random.standard_normal((5, 3))
    matrix = factor @ factor.T
    rhs = random.standard_normal(5)
    solution, _ = PseudoInverse(rtol=1e-10)(jnp.asarray(matrix), jnp.asarray(rhs))
    np.testing.assert_allclose(solution, np.linalg.pinv(matrix) @ rhs, rtol=1e-8)


def test_cg_tells_its_residual():
    matrix = jnp.diag(jnp.arange(1.0, 30))
    _, info = CG(maxiter=2)(matrix, jnp.ones(29))
    assert 1e-3 < float(info["solver_residual"]) < 1


def test_a_plain_function_is_a_solver():
    problem = small_problem("real")
    np.testing.assert_allclose(
        direction(SR(1e-3, jnp.linalg.solve), problem)[0],
        direction(SR(1e-3), problem)[0],
        rtol=1e-9,
    )


def test_the_mode_is_found():
    x = jnp.ones((2, 3))
    assert default_mode(lambda p, x: x @ p, jnp.ones(3), x) == "real"
    assert default_mode(lambda p, x: x @ p * 1j, jnp.ones(3), x) == "complex"
    assert default_mode(lambda p, x: x @ p, jnp.ones(3) + 0j, x) == "complex"


def test_float32_stays_float32():
    problem = small_problem("real")
    single = jax.tree.map(
        lambda x: x.astype(jnp.float32), (problem.params, problem.samples, problem.losses)
    )
    problem = Problem(problem.log_psi, *single, mode="real")
    for rule in RULES:
        found, state, _ = step(rule, problem)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
        assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(state))


def test_bad_settings():
    for make, match in [
        (lambda: SR(-1), "diag_shift must be at least 0, but -1 was given"),
        (lambda: SPRING(momentum=1.0), r"momentum must be in \[0, 1\), but 1.0 was given"),
        (lambda: SPRING(norm_cap=0), "norm_cap must be above 0, but 0 was given"),
        (lambda: MARCH(beta=1), r"beta must be in \[0, 1\), but 1 was given"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    with pytest.raises(ValueError, match="needs complex parameters only; use mode='complex'"):
        problem = small_problem("real")
        Problem(
            problem.log_psi, problem.params, problem.samples, problem.losses, mode="holomorphic"
        ).scores()


@pytest.mark.parametrize("rule", [SR, MinSR, SPRING, MARCH, KFAC])
def test_names_of_other_programs_are_told(rule):
    with pytest.raises(TypeError, match="the damping is called diag_shift here"):
        rule(damping=1e-3)
    with pytest.raises(TypeError, match="give the learning rate to the driver"):
        rule(learning_rate=1e-3)
