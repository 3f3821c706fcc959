"""KFAC against matrices of scores, exact natural gradients and kfac-jax."""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ritz.molecule import FermiNet, LogPsi, Molecule, Psiformer
from ritz.testing.updates import small_problem
from ritz.updates import KFAC, SR, Problem
from tests.updates.problems import lattice_samples, model_problem, smooth
from tests.updates.test_score_map import Net, problem_of, weights

MODES = ["real", "complex", "holomorphic"]


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def updated(rule, arrays, log_psi, settings):
    problem = Problem(log_psi, *arrays[1:], **dict(settings))
    return rule.update(arrays[0], problem, problem.params, jax.random.key(0))


def step(rule, problem, state=None, **settings):
    """What `rule.update` gives for a problem, compiled."""
    state = rule.init(problem.params, problem) if state is None else state
    arrays = state, problem.params, problem.samples, problem.losses, problem.weights
    return updated(rule, arrays, problem.log_psi, (("mode", problem.mode), *settings.items()))


def scores_of(problem):
    return jax.jit(problem.scores)()


def direction(rule, problem, state=None, **settings):
    """The direction as a vector."""
    return np.asarray(problem.to_vector(step(rule, problem, state, **settings)[0]))


@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_one_exact_block_is_stochastic_reconfiguration(mode, period):
    problem = small_problem(mode)
    found = direction(KFAC(1e-2, norm_constraint=None, inverse_period=period), problem)
    np.testing.assert_allclose(found, direction(SR(1e-2), problem), rtol=1e-9, atol=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_blocks_are_the_gradient(mode):
    problem = problem_of(mode, weights=weights())
    whole = KFAC(1e14, None, largest_exact=50)  # the damping alone is left, and gradients
    found = 1e14 * direction(whole, problem)
    wanted = problem.scores().conj().T @ problem.residuals
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.medium
@pytest.mark.parametrize("rule", [KFAC(), KFAC(largest_exact=3, centred=False)], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_chunks_change_nothing(mode, rule):
    problem = problem_of(mode, weights=weights())
    whole = direction(rule, problem)
    found = direction(rule, problem, chunk_size=5)
    np.testing.assert_allclose(found, whole, rtol=1e-8, atol=1e-10)


class Small(nn.Module):
    """A convolution, and a dense layer."""

    @nn.compact
    def __call__(self, x):
        h = nn.Conv(3, 3, padding="CIRCULAR", param_dtype=float)(x[..., None])
        return jnp.sum(jnp.log(jnp.cosh(nn.Dense(3, param_dtype=float)(jnp.tanh(h)))), (1, 2))


class MLP(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(nn.Dense(8, param_dtype=float)(x))
        return jnp.sum(jnp.log(jnp.cosh(nn.Dense(4, param_dtype=float)(h))), axis=1)


def of_molecule(network, **settings):
    molecule = Molecule("LiH")
    model = network(molecule, n_determinants=2, dtype=jnp.float64, **settings)
    x = jnp.asarray(np.random.default_rng(2).standard_normal((200, 4, 3)))
    params = jax.jit(model.init)(jax.random.key(0), x[0])["params"]
    return Problem(LogPsi(model), params, x, smooth(x), mode="real")


def rbm():
    nk = pytest.importorskip("netket")
    return model_problem(
        nk.models.RBM(param_dtype=complex), lattice_samples(200, 8), mode="complex"
    )


PROBLEMS = {
    "MLP": lambda: model_problem(MLP(), lattice_samples(200, 8)),
    "convolution": lambda: model_problem(Small(), lattice_samples(200, 8)),
    "RBM": rbm,
    "FermiNet": lambda: of_molecule(FermiNet, hidden=((6, 3),) * 2),
    "Psiformer": lambda: of_molecule(Psiformer, n_layers=1, n_heads=2, head_width=3),
}


def cosine(a, b):
    return (np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))).real


@pytest.mark.medium
@pytest.mark.parametrize("name", PROBLEMS)
def test_directions_are_closer_to_the_natural_gradient_than_the_gradient_is(name):
    """In the metric of the natural gradient, in which log psi changes."""
    problem = PROBLEMS[name]()
    scores = np.asarray(scores_of(problem))
    exact = direction(SR(1e-2), problem)
    gradient = scores.T @ np.asarray(problem.residuals)
    found = direction(KFAC(1e-2), problem)
    assert cosine(scores @ found, scores @ exact) > cosine(scores @ gradient, scores @ exact)


def product_problem(centred_slopes=True, n_uses=1):
    """A linear layer whose inputs and slopes are independent: all pairs of some of both.

    All uses have the same slopes.
    """
    random = np.random.default_rng(3)
    a, g = random.standard_normal((9, n_uses * 3)) + 0.5, random.standard_normal((6, 2)) + 0.5
    g = g - g.mean(axis=0) if centred_slopes else g
    pairs = jnp.asarray([np.concatenate(pair) for pair in [(x, y) for x in a for y in g]])

    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x):
            inputs = x[:, : n_uses * 3].reshape(len(x), n_uses, 3)
            hidden = nn.Dense(2, use_bias=False, param_dtype=float)(inputs)
            return jnp.sum(hidden * x[:, None, n_uses * 3 :], axis=(1, 2))

    return model_problem(Linear(), pairs)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (KFAC(1e-20, None, centred=False), {}),
        (KFAC(1e-20, None), {"centred_slopes": False}),
        (KFAC(1e-20, None, inverse_period=2), {"centred_slopes": False}),
        (KFAC(1e-20, None, sharing="reduce"), {"centred_slopes": False, "n_uses": 2}),
    ],
    ids=["plain", "centred", "inverses", "reduce"],
)
def test_independent_inputs_and_slopes_give_the_natural_gradient_exactly(rule, settings):
    problem = product_problem(**settings)
    exact = direction(SR(0.0), problem)
    np.testing.assert_allclose(direction(rule, problem), exact, rtol=1e-8)
    other = KFAC(1e-20, None, centred=False) if settings else SR(1.0)
    assert not np.allclose(direction(other, problem), exact, rtol=1e-2)


@pytest.mark.medium
def test_averages_are_corrected_for_their_beginning():
    problem = problem_of("real")
    rule = KFAC(decay=0.9)
    first, state, _ = step(rule, problem)
    again, _, _ = step(rule, problem, state)
    alone, _, _ = step(KFAC(decay=0.0), problem)
    for other in (again, alone):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), first, other)


def test_inverses_are_kept_for_a_period():
    problem = problem_of("real")
    rule = KFAC(inverse_period=2, decay=0.5)
    other = dataclasses.replace(problem, samples=problem.samples[::-1] * 1.5)
    state = rule.init(problem.params, problem)
    kept = []
    for k in range(4):
        _, state, _ = step(rule, other if k else problem, state)
        kept.append(np.asarray(state.inverses[0][0]))
    assert np.array_equal(kept[0], kept[1]) and np.array_equal(kept[2], kept[3])
    assert not np.allclose(kept[1], kept[2])


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_kept_inverses_stay_with_their_means(decay):
    """Whatever is added to log psi has no part in the direction, at later samples as well."""

    class Line(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1, param_dtype=float)(x)[:, 0]

    x = jnp.asarray(np.random.default_rng(0).standard_normal((200, 3)))
    problem = model_problem(Line(), x)
    rule = KFAC(1e-3, None, decay=decay, inverse_period=10)
    _, state, _ = step(rule, problem)
    moved = dataclasses.replace(problem, samples=x + 0.5, losses=smooth(x + 0.5))
    tree, _, _ = step(rule, moved, state)
    bias, kernel = tree["Dense_0"]["bias"], tree["Dense_0"]["kernel"]
    scores = np.asarray(scores_of(moved))
    force = scores.T @ np.asarray(moved.residuals)
    wanted = np.linalg.solve(np.cov(x.T, bias=True) + 1e-3 * np.eye(3), force[1:])
    np.testing.assert_allclose(kernel[:, 0], wanted, rtol=1e-2)
    assert abs(bias[0]) < 1e-6 * np.abs(kernel).max()


def test_the_norm_constraint_bounds_the_length_in_the_metric():
    problem = small_problem("real")
    free = direction(KFAC(1e-2, norm_constraint=None), problem)
    tree, _, info = step(KFAC(1e-2, norm_constraint=1e-4), problem)
    found = np.asarray(problem.to_vector(tree))
    scores = np.asarray(problem.scores())
    metric = scores.T @ scores + 1e-2 * np.eye(len(found))
    assert found @ metric @ found == pytest.approx(1e-4, rel=1e-9)
    np.testing.assert_allclose(found, info["norm_scale"] * free, rtol=1e-9)


def test_single_precision_has_the_same_blocks_and_nearly_the_same_direction():
    double = problem_of("real")
    single = dataclasses.replace(
        double,
        params=jax.tree.map(lambda p: p.astype(np.float32), double.params),
        samples=double.samples.astype(np.float32),
    )
    assert str(KFAC().blocks(single)) == str(KFAC().blocks(double))
    state = KFAC().init(single.params, single)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.curvature)} == {np.dtype("float32")}
    found = direction(KFAC(1e-2), single)
    wanted = direction(KFAC(1e-2), double)
    assert found.dtype == np.float32 and cosine(found, wanted) > 1 - 1e-6


def test_a_dead_layer_and_one_parameter_are_no_division_by_zero():
    class Dead(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1, use_bias=False, param_dtype=float)(x[:, :1] * 0)[:, 0] + x[:, 0]

    class One(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1, use_bias=False, param_dtype=float)(x[:, :1])[:, 0]

    x = lattice_samples()
    assert direction(KFAC(), model_problem(Dead(), x)) == 0
    problem = model_problem(One(), x)
    found = direction(KFAC(1e-2, None), problem)
    np.testing.assert_allclose(found, direction(SR(1e-2), problem), rtol=1e-9)


def test_the_report_names_the_block_of_every_parameter(caplog):
    problem = problem_of("real", net=Net(twice=True))
    rule = KFAC(largest_exact=20)
    told = rule.blocks(problem)
    names = [name for block in told for name in block.parameters]
    assert sorted(names) == sorted(
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree.leaves_with_path(problem.params)
    )
    assert told.summary == (
        "3 Kronecker blocks of 1848 parameters, 1 exact block of 6 parameters, "
        "1 diagonal block of 24 parameters"
    )
    with caplog.at_level(logging.INFO, "ritz"):
        rule.init(problem.params, problem)
    assert "diagonal                 24               net/scale" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_model_without_layers_is_told(caplog):
    problem = small_problem("real")
    KFAC().init(problem.params, problem)
    assert "found no linear layers of flax" in caplog.text
    assert "1 exact block of 6 parameters" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "decay must be below 1, but 1 was given"),
        ({"inverse_period": 0}, "inverse_period must be .*, but 0 was given"),
        ({"sharing": "sum"}, "sharing.*'sum'"),
        ({"norm_constraint": 0.0}, "norm_constraint must be above 0"),
        ({"diag_shift": 0.0}, "diag_shift must be above 0, but 0.0 was given"),
        ({"largest_exact": -1}, "largest_exact"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        KFAC(**settings)


def test_blocks_are_those_of_a_problem():
    with pytest.raises(TypeError, match=r"such as driver.problem, but <object"):
        KFAC().blocks(object())


@pytest.mark.medium
def test_no_parameters_and_one_array_at_two_places():
    x = lattice_samples()
    none = Problem(lambda p, x: jnp.sum(x, axis=1), {}, x, smooth(x), mode="real")
    rule = KFAC()
    found, state, info = rule.update(rule.init({}, none), none, {}, jax.random.key(0))
    assert (found, int(state.step), info) == ({}, 1, {})

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = functools.partial(nn.Dense, 16, use_bias=False, param_dtype=float)
            return jnp.sum(dense(name="b")(jnp.tanh(dense(name="a")(x))), axis=1)

    problem = model_problem(Two(), x)
    kernel = problem.params["a"]["kernel"]
    twice = {"a": {"kernel": kernel}, "b": {"kernel": kernel}}
    apart = {"a": {"kernel": kernel}, "b": {"kernel": kernel.copy()}}
    one, other = (
        rule.update(rule.init(p, q), q, p, jax.random.key(0))[0]
        for p in (twice, apart)
        for q in [dataclasses.replace(problem, params=p)]
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.netket
@pytest.mark.medium
def test_models_that_take_whole_numbers_alone():
    import netket as nk

    from ritz.lattice import VMC

    class Embedded(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.sum(nn.Embed(3, 4, param_dtype=float)(x), axis=(-2, -1))

    hilbert = nk.hilbert.Fock(2, 3)
    hamiltonian = nk.operator.BoseHubbard(hilbert, nk.graph.Chain(3), U=1.0)
    sampler = nk.sampler.MetropolisLocal(hilbert, n_chains=8)
    state = nk.vqs.MCState(sampler, Embedded(), n_samples=16)
    driver = VMC(hamiltonian, 0.01, variational_state=state, update=KFAC())
    driver.run(1, show_progress=False)
    assert [block.kind for block in driver.rule.blocks(driver.problem)] == ["exact"]
