"""Local updates of wave functions against full evaluations."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest

from ritz.lattice import LocalUpdate, TwoStates, local_energies, local_update
from ritz.lattice.flips import Flips, flip_operator
from ritz.lattice.models import JastrowRBM, Symmetrized
from ritz.lattice.operators import traceable
from tests.lattice.models import run, vmc

pytestmark = pytest.mark.netket

N = 5
CHAIN = nk.graph.Chain(N)
SPINS = nk.hilbert.Spin(0.5, N)
BALANCED = nk.hilbert.Spin(0.5, 6, total_sz=0)
QUBITS = nk.hilbert.Qubit(N)
FERMIONS = nk.hilbert.Fock(1, N)

MODELS = {
    "Jastrow and RBM": JastrowRBM((N,), alpha=2),
    "Jastrow and RBM, open": JastrowRBM((N,), periodic=False, alpha=1, param_dtype=complex),
    "RBM": nk.models.RBM(alpha=2),
    "RBM, bare": nk.models.RBM(alpha=1, use_hidden_bias=False, use_visible_bias=False),
    "RBM, complex": nk.models.RBM(alpha=4, param_dtype=complex),
    "Jastrow": nk.models.Jastrow(param_dtype=float),
    "Jastrow, complex": nk.models.Jastrow(),
}
PROJECTIONS = {
    "projection": Symmetrized(nk.models.RBM(alpha=2), inversion=1),
    "projection onto a momentum": Symmetrized(
        nk.models.RBM(alpha=1, param_dtype=complex),
        group=CHAIN.translation_group(),
        character=CHAIN.translation_group().character_table()[1],
        inversion=-1,
    ),
}
STRINGS = ["XXXII", "YIIZY", "ZZZII", "XYIII", "IIIII", "YYIII"]
OPERATORS = {
    "Ising": nk.operator.IsingJax(SPINS, CHAIN, h=1.3),
    "Heisenberg": nk.operator.Heisenberg(BALANCED, nk.graph.Chain(6)),
    "Pauli strings": nk.operator.PauliStringsJax(QUBITS, STRINGS, [0.5, 1, 2, 0.3, -1, 1.5]),
    "Pauli strings on spins": nk.operator.PauliStringsJax(SPINS, STRINGS[:4], [0.5, 1, 2, 0.3]),
    "local operators": (
        nk.operator.spin.sigmap(SPINS, 0) @ nk.operator.spin.sigmam(SPINS, 3)
        + nk.operator.spin.sigmam(SPINS, 0) @ nk.operator.spin.sigmap(SPINS, 3)
        + nk.operator.spin.sigmay(SPINS, 1) @ nk.operator.spin.sigmaz(SPINS, 2) + 0.5
    ),
    "hard-core bosons": (
        nk.operator.boson.create(FERMIONS, 0) @ nk.operator.boson.destroy(FERMIONS, 1)
        + nk.operator.boson.create(FERMIONS, 1) @ nk.operator.boson.destroy(FERMIONS, 0)
    ),
}  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def log_psi(model, variables, x):
    return model.apply(variables, x)


def flipped_at(x, flips):
    """Each row of `x` with the sites of each row of `flips` flipped."""
    flipped = np.repeat(np.asarray(x)[:, None], len(flips), axis=1)
    for place, sites in enumerate(flips):
        flipped[:, place, sites] *= -1
    return jnp.asarray(flipped)


def random_variables(model, x, scale):
    """Parameters of order `scale`; drawn by NumPy, which compiles nothing."""
    rng = np.random.default_rng(1)

    def noise(leaf):
        values = rng.standard_normal((2, *leaf.shape)) * scale
        values = values[0] + 1j * values[1] if np.iscomplexobj(leaf) else values[0]
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(noise, jax.jit(model.init)(jax.random.key(1), x))


OFTEN = ("Heisenberg",)


@pytest.mark.medium
@pytest.mark.parametrize(
    "operator", [pytest.param(o, marks=() if o in OFTEN else pytest.mark.slow) for o in OPERATORS]
)
@pytest.mark.parametrize("model", MODELS)
def test_local_energies_are_those_of_the_full_evaluation(model, operator):
    model, operator = MODELS[model], OPERATORS[operator]
    if isinstance(model, JastrowRBM):
        model = model.clone(extent=(operator.hilbert.size,))
    check_local_energies(model, operator)


@pytest.mark.medium
@pytest.mark.parametrize("model", PROJECTIONS)
@pytest.mark.parametrize("operator", ["Ising", "local operators"])
def test_local_energies_of_projections(model, operator):
    check_local_energies(PROJECTIONS[model], OPERATORS[operator])


def check_same(found, expected):
    """Compare arrays; phases may differ by whole turns."""
    if np.iscomplexobj(found):
        found -= 2j * np.pi * np.round((found - expected).imag / (2 * np.pi))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def not_zero(psi):
    """Where projections have not cancelled but for rounding errors."""
    return np.abs(psi) > 1e-10 * np.abs(psi).max()


def check_local_energies(model, operator):
    x = jnp.asarray(operator.hilbert.all_states())
    variables = random_variables(model, x, 0.5)
    jitted = traceable(operator, operator.hilbert)
    flips = Flips(flip_operator(jitted), local_update(model, TwoStates.of(operator.hilbert)))
    psi = np.exp(log_psi(model, variables, x))
    there = not_zero(psi)
    expected = (operator.to_dense() @ psi)[there] / psi[there]
    x = x[there]
    for chunk_size in (None, 7):
        energies = jax.jit(
            lambda variables, chunk_size=chunk_size: local_energies(
                model.apply, variables, x, jitted, chunk_size, flips
            )
        )(variables["params"])
        np.testing.assert_allclose(energies, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.medium
@pytest.mark.parametrize("model", MODELS | PROJECTIONS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_log_ratios_and_caches(model, k):
    model = (MODELS | PROJECTIONS)[model]
    states = TwoStates.of(SPINS)
    x = jnp.asarray(SPINS.all_states())
    variables = random_variables(model, x, 0.5)
    x = x[not_zero(np.exp(log_psi(model, variables, x)))]
    update = local_update(model, states)
    start, log_ratio = jax.jit(update.start), jax.jit(update.log_ratio)
    tables = jax.jit(update.prepare)(variables["params"])
    cache = start(tables, x)
    flips = np.array(list(itertools.combinations(range(N), k)))
    flipped = flipped_at(x, flips)
    change = np.asarray(log_psi(model, variables, flipped))
    change = change - np.asarray(log_psi(model, variables, x))[:, None]

    log_ratios = jax.jit(functools.partial(update.log_ratios, flips=flips))
    ratios = log_ratios(tables, cache, x)
    np.testing.assert_allclose(np.exp(ratios), np.exp(change), rtol=1e-10, atol=1e-12)
    for place in (0, len(flips) - 1):
        sites = flips[place]
        ratio, new_cache = log_ratio(tables, cache, np.asarray(x)[:, sites].T, sites)
        np.testing.assert_allclose(np.exp(ratio), np.exp(change[:, place]), rtol=1e-10, atol=1e-12)
        expected = start(tables, np.asarray(flipped)[:, place])
        jax.tree.map(check_same, new_cache, expected)


def single_flips(model, variables, x):
    """Log ratios after single flips: by the local update, and by full evaluations."""
    update = local_update(model, TwoStates.of(SPINS))
    flips = np.arange(N)[:, None]

    @jax.jit
    def ratios(params):
        tables = update.prepare(params)
        return update.log_ratios(tables, update.start(tables, x), x, flips)

    @jax.jit
    def expected(variables):
        before = model.apply(variables, x)
        return model.apply(variables, flipped_at(x, flips)) - before[:, None]

    return ratios(variables["params"]), expected(variables)


@pytest.mark.parametrize("scale", [1e-3, 3.0, 20.0])
def test_nothing_overflows_or_cancels(scale):
    """Also where every hidden unit is saturated, and cosh itself has no float."""
    model = nk.models.RBM(alpha=8)
    x = jnp.asarray(SPINS.all_states())
    variables = random_variables(model, x, scale)
    np.testing.assert_allclose(*single_flips(model, variables, x), rtol=1e-10, atol=1e-10)


def test_single_precision():
    model, x = nk.models.RBM(alpha=2, param_dtype=np.float32), jnp.asarray(SPINS.all_states())
    ratios, expected = single_flips(model, random_variables(model, x, 0.5), x)
    assert ratios.dtype == np.float32
    np.testing.assert_allclose(ratios, expected, atol=2e-5)


def test_what_offers_no_local_update():
    states = TwoStates.of(SPINS)
    assert local_update(nk.models.RBMModPhase(), states) is None
    assert local_update(nk.models.RBM(activation=nn.relu), states) is None
    assert TwoStates.of(nk.hilbert.Spin(1, 3)) is None
    assert TwoStates.of(SPINS * nk.hilbert.Fock(2, 2)) is None
    bosons = nk.operator.BoseHubbard(nk.hilbert.Fock(3, 4), nk.graph.Chain(4), U=1.0)
    assert flip_operator(bosons) is None


def test_an_ising_model_without_a_field():
    hilbert = nk.hilbert.Spin(0.5, 4)  # which NetKet cannot turn into a local operator
    assert flip_operator(nk.operator.IsingJax(hilbert, nk.graph.Chain(4), h=0.0)) is None


def test_equal_operators_share_compiled_programs():
    first = flip_operator(nk.operator.IsingJax(SPINS, CHAIN, h=1.3))
    assert first == flip_operator(OPERATORS["Ising"])
    assert hash(first) == hash(flip_operator(OPERATORS["Ising"]))
    assert first != flip_operator(nk.operator.IsingJax(SPINS, CHAIN, h=1.2))
    assert first.n_connected == N + 1


@pytest.mark.medium
def test_a_model_of_ones_own():
    class Product(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x @ self.param("a", nn.initializers.normal(), (x.shape[-1],), float)

    class ProductUpdate(LocalUpdate):
        calls = 0

        def prepare(self, params):
            type(self).calls += 1
            return params["a"]

        def start(self, tables, x):
            return (x * tables).T

        def log_ratio(self, tables, cache, values, sites):
            return -2 * jnp.sum(cache[sites], axis=0), cache.at[sites].multiply(-1)

        def log_ratios(self, tables, cache, x, flips):
            return -2 * jnp.sum(cache[flips], axis=1).T

    local_update.register(Product, lambda model, states: ProductUpdate())

    def state():
        hilbert = nk.hilbert.Spin(0.5, 6)
        sampler = nk.sampler.MetropolisLocal(hilbert, n_chains=16)
        return nk.vqs.MCState(sampler, Product(), n_samples=64, seed=1, sampler_seed=2)

    fast, slow = run(vmc(state()), 4), run(vmc(state(), local_updates=False), 4)
    assert ProductUpdate.calls > 0
    np.testing.assert_allclose(fast["Energy"]["Mean"], slow["Energy"]["Mean"], rtol=1e-10)


@pytest.mark.medium
@pytest.mark.parametrize("model", ["real", "complex"])
def test_vmc_with_and_without(model):
    from tests.lattice.models import mc_state

    fast = run(vmc(mc_state(model)), 5)
    slow = run(vmc(mc_state(model), local_updates=False), 5)
    np.testing.assert_allclose(fast["Energy"]["Mean"], slow["Energy"]["Mean"], rtol=1e-9)
    np.testing.assert_allclose(fast["Energy"]["Variance"], slow["Energy"]["Variance"], rtol=1e-6)
