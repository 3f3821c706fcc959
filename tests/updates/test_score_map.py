"""The scores as a map, by inputs and slopes of dense layers, against the matrix of them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ritz.updates import SPRING, MinSR, Problem
from ritz.updates.score_map import factored_layers

N, SITES, WIDTH = 12, 3, 24


class Net(nn.Module):
    """Dense layers of all kinds: over sites, called twice, with and without bias, general ones."""

    dtype: type = float
    twice: bool = True

    @nn.compact
    def __call__(self, x):
        dense = functools.partial(nn.Dense, WIDTH, param_dtype=self.dtype)
        sites = x.reshape(len(x), SITES, -1)
        hidden = jnp.tanh(dense(name="sites", use_bias=False)(sites))
        hidden = nn.DenseGeneral((2, WIDTH), param_dtype=self.dtype, name="general")(hidden)
        again = dense(name="again")
        hidden = again(jnp.tanh(jnp.sum(hidden, axis=(1, 2))))
        if self.twice:
            hidden = again(jnp.tanh(hidden))
        scale = self.param("scale", nn.initializers.normal(0.3), (WIDTH,), self.dtype)
        return jnp.sum(jnp.log(jnp.cosh(hidden)) * scale, axis=-1)


def log_psi_of(model, phase=0.0):
    def log_psi(params, x):
        value = model.apply({"params": params["net"]}, x) + x @ params["linear"]
        return value * (1 + phase)

    return log_psi


def problem_of(mode, log_psi=None, dtype=float, samples=None, net=None, **settings):
    """A problem with random numbers, of a network with `linear` besides."""
    random = np.random.default_rng(1)
    holomorphic = mode == "holomorphic"
    number = complex if holomorphic else dtype
    x = jnp.asarray(random.standard_normal((N, SITES * 2)), dtype) if samples is None else samples
    net = Net(number) if net is None else net
    params = {
        "net": net.init(jax.random.key(0), x)["params"],
        "linear": jnp.asarray(random.standard_normal(SITES * 2), number),
    }
    losses = random.standard_normal(N) + (0 if mode == "real" else 1j * random.standard_normal(N))
    log_psi = log_psi_of(net, 0.5j if mode == "complex" else 0.0) if log_psi is None else log_psi
    return Problem(log_psi, params, x, jnp.asarray(losses), mode=mode, **settings)


def weights():
    given = np.random.default_rng(7).uniform(0.1, 1, N)
    return jnp.asarray(given / given.sum())


def check_map(problem, rtol=1e-11):
    """Gram matrix and products against the matrix of the scores."""

    @jax.jit
    def both(params, columns, of_rows):
        this = dataclasses.replace(problem, params=params)
        rows, found = this.scores(), this.score_map()
        return [
            (found.gram(), rows @ rows.conj().T),
            (found.times(columns), rows @ columns),
            (found.adjoint_times(of_rows), rows.conj().T @ of_rows),
        ]

    rows = jax.eval_shape(problem.scores)
    random = np.random.default_rng(2)
    columns, of_rows = (
        jnp.asarray(random.standard_normal(k), rows.dtype) for k in rows.shape[::-1]
    )
    for got, wanted in both(problem.params, columns, of_rows):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


def names_of(problem):
    """The layers that are factors, by the names of their modules."""
    paths = [path for path, _ in jax.tree.leaves_with_path(problem.params)]
    found = factored_layers(problem.log_psi, problem.params, problem.samples, problem.mode)
    return {paths[layer.kernel][-2].key for layer in found}


@pytest.mark.medium
@pytest.mark.parametrize("mode", ["real", "complex", "holomorphic"])
@pytest.mark.parametrize("settings", [{}, {"weights": weights()}, {"chunk_size": 5}], ids=str)
def test_the_map_is_the_matrix(mode, settings):
    problem = problem_of(mode, **settings)
    check_map(problem)
    assert names_of(problem) == {"general", "again"}  # "sites" has few inputs for its uses


def test_a_layer_that_is_called_once_has_one_use():
    for twice in (False, True):
        problem = problem_of("real", net=Net(twice=twice))
        shapes = jax.eval_shape(lambda p=problem: p.score_map().factors)
        assert [f.inputs.shape for f in shapes if f.slopes.shape[-1] == WIDTH] == [
            (1 + twice, N, WIDTH + 1)
        ]


@pytest.mark.medium
@pytest.mark.parametrize("rule", [MinSR(), SPRING(norm_cap=1.0)], ids=str)
@pytest.mark.parametrize("mode", ["real", "complex", "holomorphic"])
def test_rules_give_the_same_by_both(rule, mode):
    problem = problem_of(mode)
    hidden = dataclasses.replace(problem, log_psi=jax.jit(problem.log_psi))  # hides the layers
    assert names_of(problem) and not names_of(hidden)
    key = jax.random.key(0)

    @jax.jit
    def both(params):
        problems = (dataclasses.replace(p, params=params) for p in (problem, hidden))
        return [rule.update(rule.init(params, p), p, params, key)[0] for p in problems]

    one, two = both(problem.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), one, two)


def tied(net):
    """A kernel that reaches log psi by another way, too."""

    def log_psi(params, x):
        value = log_psi_of(net)(params, x)
        return value + jnp.sum(params["net"]["again"]["kernel"] ** 2) * jnp.sum(x**2, -1)

    return log_psi


def in_scan(net):
    def log_psi(params, x):
        def body(total, _):
            return total + log_psi_of(net)(params, x), None

        return jax.lax.scan(body, jnp.zeros(len(x)), length=2)[0]

    return log_psi


def in_vmap(net):
    def log_psi(params, x):
        return jax.vmap(lambda one: log_psi_of(net)(params, one[None])[0])(x)

    return log_psi


def with_cast(net):
    """Layers get parameters that have been computed from those of the problem."""
    return lambda params, x: log_psi_of(net)(jax.tree.map(lambda p: 2 * p, params), x)


@pytest.mark.parametrize(
    ("wrapped", "factors"),
    [(tied, {"general"}), (in_scan, set()), (in_vmap, set()), (with_cast, set())],
)
def test_what_cannot_be_factors_stays_a_matrix(wrapped, factors):
    net = Net()
    problem = problem_of("real", wrapped(net), net=net)
    check_map(problem)
    assert names_of(problem) == factors


class Gated(nn.Module):
    """A layer that calls a dense one in a `vmap` of its own."""

    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(WIDTH, param_dtype=float, name="dense")
        hidden = nn.vmap(
            lambda module, row: module(row),
            variable_axes={"params": None},
            split_rngs={"params": 0},
        )(dense, x.repeat(8, axis=1))
        return jnp.sum(jnp.tanh(nn.Dense(WIDTH, param_dtype=float, name="last")(hidden)), axis=-1)


def test_lifted_transformations_are_left_alone():
    problem = problem_of("real", net=Gated())
    check_map(problem)
    assert names_of(problem) == {"last"}


def upstream(net, params, x):
    """A kernel that is used before its layer."""
    hidden = jnp.tanh(x.repeat(4, axis=1) @ params["d"]["kernel"])
    return jnp.sum(jnp.tanh(net.d(hidden)), -1)


def autoencoder(net, params, x):
    hidden = jnp.tanh(net.d(x.repeat(4, axis=1)))
    back = jnp.tanh(hidden @ params["d"]["kernel"].T)
    return jnp.sum(jnp.tanh(net.e(back)), -1)


def keyword(net, params, x):
    return jnp.sum(jnp.tanh(net.d(jnp.tanh(net.d(inputs=x.repeat(4, axis=1))))), -1)


def remat(net, params, x):
    first = nn.remat(lambda m, y: m.d(y))(net, x.repeat(4, axis=1))
    return jnp.sum(jnp.tanh(net.d(jnp.tanh(first))), -1)


class TwoLayers(nn.Module):
    use: Any

    def setup(self):
        self.d, self.e = (nn.Dense(WIDTH, param_dtype=float) for _ in range(2))

    def __call__(self, x):
        if self.is_initializing():
            self.d(x.repeat(4, axis=1)), self.e(x.repeat(4, axis=1))
        return self.use(self, self.variables["params"], x)


@pytest.mark.parametrize(
    ("use", "factors"),
    [(upstream, set()), (autoencoder, {"e"}), (keyword, set()), (remat, set())],
)
def test_parameters_that_are_used_before_their_layer_are_no_factors(use, factors):
    problem = problem_of("real", net=TwoLayers(use))
    check_map(problem)
    assert names_of(problem) == factors


class Bound(nn.Module):
    """A dense layer, of parameters that it is given."""

    shared: tuple

    @nn.compact
    def __call__(self, x):
        wide = x.repeat(4, axis=1)
        kernels = [
            self.param(f"k{i}", nn.initializers.normal(), (WIDTH, WIDTH), float) for i in (0, 1)
        ]
        biases = [self.param(f"b{i}", nn.initializers.normal(), (WIDTH,), float) for i in (0, 1)]
        for k, b in self.shared:
            own = {"kernel": kernels[k]} | ({} if b is None else {"bias": biases[b]})
            layer = nn.Dense(WIDTH, use_bias=b is not None, param_dtype=float, parent=None)
            wide = jnp.tanh(layer.apply({"params": own}, wide))
        return jnp.sum(wide, -1)


@pytest.mark.parametrize(
    "shared", [((0, 0), (0, 1)), ((0, 0), (0, None)), ((0, 0), (1, 0))], ids=str
)
def test_layers_that_share_one_of_their_parameters_are_no_factors(shared):
    problem = problem_of("real", net=Bound(shared))
    check_map(problem)
    found = factored_layers(problem.log_psi, problem.params, problem.samples, problem.mode)
    assert found == ()


@pytest.mark.parametrize(
    "own",
    [
        {"dot_general": lambda *a, **k: 2 * jax.lax.dot_general(*a, **k)},
        {"promote_dtype": lambda x, k, b, **_: (x, jnp.tanh(k), b)},
    ],
    ids=["dot_general", "promote_dtype"],
)
def test_layers_with_a_product_of_their_own_are_no_factors(own):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(WIDTH, param_dtype=float, **own)
            return jnp.sum(jnp.tanh(dense(x.repeat(4, axis=1))), -1)

    problem = problem_of("real", net=Model())
    check_map(problem)
    assert names_of(problem) == set()


@pytest.mark.medium
def test_single_precision():
    single = problem_of("real", dtype=np.float32, net=Net(np.float32))
    check_map(single, rtol=3e-6)
    reduced = problem_of("real", single_scores=True)
    for problem in (single, reduced):
        factors = jax.eval_shape(lambda p=problem: p.score_map().factors)
        assert {f.slopes.dtype for f in factors} == {np.dtype(np.float32)}
    check_map(reduced, rtol=3e-6)
