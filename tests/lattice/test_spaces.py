"""Samplers and operators that do not suit their space, and configurations outside of it."""

import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from netket.hilbert.constraint import DiscreteHilbertConstraint

from ritz.callbacks import LambdaCallback
from ritz.lattice import VMC, MetropolisExchange, MetropolisLocal, mc_state
from ritz.lattice.sampling.moves import TransferMoves
from ritz.lattice.space import inside
from ritz.updates import SR

pytestmark = pytest.mark.netket

BALANCED = nk.hilbert.Spin(0.5, 6, total_sz=0)
BOSONS = nk.hilbert.Fock(3, 4, n_particles=4)
FERMIONS = nk.hilbert.SpinOrbitalFermions(3, s=1 / 2, n_fermions_per_spin=(2, 1))
RING, FOUR, THREE = (nk.graph.Chain(n) for n in (6, 4, 3))


class TwoUpAtMost(DiscreteHilbertConstraint):
    def __call__(self, x):
        return jnp.sum(x > 0, axis=-1) <= 2

    def __hash__(self):
        return hash("TwoUpAtMost")

    def __eq__(self, other):
        return isinstance(other, TwoUpAtMost)


FEW = nk.hilbert.Spin(0.5, 4, constraint=TwoUpAtMost())
SPACES = {
    "spins": nk.hilbert.Spin(0.5, 4),
    "spin 3/2": nk.hilbert.Spin(1.5, 2),
    "balanced": BALANCED,
    "bosons": BOSONS,
    "fermions": FERMIONS,
    "doubled": nk.hilbert.DoubledHilbert(nk.hilbert.Fock(2, 2, n_particles=2)),
    "product": nk.hilbert.Spin(0.5, 2, total_sz=0) * nk.hilbert.Fock(2, 2),
    "custom": FEW,
}


@pytest.mark.medium
@pytest.mark.parametrize("name", SPACES)
def test_which_configurations_are_inside(name):
    hilbert = SPACES[name]
    values = sorted({v for i in range(hilbert.size) for v in hilbert.states_at_index(i)} | {7, 0.5})
    everything = np.stack(np.meshgrid(*[values] * hilbert.size, indexing="ij"), -1)
    everything = everything.reshape(-1, hilbert.size)
    found = everything[inside(hilbert, everything)]
    expected = np.array(hilbert.all_states(), float)
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


def test_no_number_is_inside():
    x = np.array([[1.0, np.nan, 1, 1], [1, 1, -1, np.inf], [1, 1, -1, 1]])
    assert inside(SPACES["spins"], x).tolist() == [False, False, True]
    with pytest.raises(ValueError, match=r"have 4 sites on the last axis, but the shape \(3, 5\)"):
        inside(SPACES["spins"], np.ones((3, 5)))


@pytest.mark.parametrize(
    "hilbert", [BALANCED, BOSONS, FERMIONS, FEW], ids=["spins", "bosons", "fermions", "few"]
)
def test_local_moves_are_refused_in_constrained_spaces(hilbert):
    with pytest.raises(ValueError, match=r"is constrained: .*use ritz.lattice.MetropolisExchange"):
        MetropolisLocal(hilbert, n_chains=4)


def test_infinitely_many_states():
    with pytest.raises(ValueError, match="infinitely many states.*n_max="):
        MetropolisLocal(nk.hilbert.Fock(None, 3), n_chains=4)


EXCHANGES = {
    "other graph": (BALANCED, {"graph": nk.graph.Chain(8)}, "sites up to 7 were given"),
    "no pairs": (BALANCED, {"clusters": np.zeros((0, 2), int)}, "must have the sites of the space"),
    "not connected": (
        BALANCED,
        {"clusters": [(0, 1), (2, 3), (4, 5)]},
        "no path leads from site 0",
    ),
    "between spins": (FERMIONS, {"graph": RING}, "sites 0 and 5 lead out of the space"),
    "custom": (FEW, {"graph": FOUR}, "do not reach all of it, with its constraint"),
    "spins of fermions": (
        nk.hilbert.SpinOrbitalFermions(3, s=0.5, n_fermions=3),
        {"graph": nk.graph.disjoint_union(THREE, THREE)},
        "no path leads from site 0 to site 3",
    ),
}


@pytest.mark.parametrize("case", EXCHANGES)
def test_exchanges_that_do_not_suit(case):
    hilbert, options, message = EXCHANGES[case]
    with pytest.raises(ValueError, match=message):
        MetropolisExchange(hilbert, n_chains=4, **options)


def test_exchanges_without_a_constraint_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        MetropolisExchange(SPACES["spins"], graph=FOUR, n_chains=4)
    assert "each chain stays in the sector in which it began" in caplog.text


def test_transfers_only_where_sites_have_more_than_two_states():
    assert MetropolisExchange(BOSONS, graph=FOUR, n_chains=4).transfers
    assert not MetropolisExchange(BALANCED, graph=RING, n_chains=4).transfers
    one_part = nk.hilbert.SpinOrbitalFermions(3, s=0.5, n_fermions_per_spin=(2, 0))
    MetropolisExchange(one_part, clusters=[(0, 1), (1, 2)], n_chains=4)  # the rest is empty


def test_a_transfer_keeps_sum_and_range():
    moves = TransferMoves(jnp.array([[0, 1]]), (-2.0, 0.0, 2.0))
    old = jnp.array([[-2, 0, 2, 2, -2], [0, 0, -2, 2, -2]], jnp.int8)
    new = moves.replace(old, jnp.array([1, -1, -1, 1, 1]))
    assert new.tolist() == [[0, -2, 0, 2, -2], [-2, 2, 0, 2, -2]]
    assert new.dtype == old.dtype


def test_sizes():
    for name, value in {"n_chains": 0, "sweep_size": -1}.items():
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
            MetropolisLocal(SPACES["spins"], **{"n_chains": 4, name: value})
    for name, value in {"n_samples": 1.5, "n_discard_per_chain": -1}.items():
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least"):
            mc_state(nk.models.RBM(), SPACES["spins"], **{name: value})


# In the driver


def driver_of(sampler, model=None, hamiltonian=None, **options):
    hilbert = sampler.hilbert
    hamiltonian = hamiltonian or nk.operator.Heisenberg(hilbert, RING)
    state = nk.vqs.MCState(
        sampler, model or nk.models.Jastrow(param_dtype=float), n_samples=64, seed=1,
        sampler_seed=2, n_discard_per_chain=0, **options,
    )  # fmt: skip
    return VMC(hamiltonian, 0.05, variational_state=state, update=SR(1e-2))


def local_and_exchange(hilbert):
    """Of a rule that the driver does not know."""
    rules = nk.sampler.rules
    rule = rules.MultipleRules([rules.LocalRule(), rules.ExchangeRule(graph=RING)], [0.5, 0.5])
    return nk.sampler.MetropolisSampler(hilbert, rule, n_chains=16)


@pytest.mark.medium
@pytest.mark.parametrize("max_block", [1, None])
@pytest.mark.parametrize("live", [False, True])
def test_a_sampler_that_leaves_the_space_is_refused(max_block, live):
    driver = driver_of(local_and_exchange(BALANCED))
    before = driver.parameters
    look = LambdaCallback(on_step_end=lambda s, _, d: d.state)
    seen = []
    log = LambdaCallback(on_run_error=lambda step, error, d: seen.append(str(error)))
    log.decides = False
    with pytest.raises(ValueError, match=r"lie outside of Spin.*MultipleRules.*MetropolisExchange"):
        driver.run(
            3, callback=[log, *[look] * live], max_block=max_block, show_progress=False
        )  # fmt: skip
    assert driver.step_count == 0 and len(seen) == 1
    jax.tree.map(np.testing.assert_array_equal, driver.parameters, before)


def test_known_rules_of_netket_are_refused_at_once():
    with pytest.raises(ValueError, match=r"is constrained: .*MetropolisExchange"):
        driver_of(nk.sampler.MetropolisLocal(BALANCED, n_chains=16))
    bosons = nk.operator.BoseHubbard(BOSONS, FOUR, U=1.0)
    with pytest.raises(ValueError, match="do not reach all of the space.*use ritz.lattice"):
        driver_of(nk.sampler.MetropolisExchange(BOSONS, graph=FOUR), hamiltonian=bosons)


@pytest.mark.medium
def test_chains_must_begin_in_the_space():
    driver = driver_of(MetropolisExchange(BALANCED, graph=RING, n_chains=16))
    state = driver.state
    good = state.sampler_state
    state.sampler_state = good.replace(σ=jnp.ones_like(good.σ))
    with pytest.raises(ValueError, match="16 of 16 configurations with which chains begin lie"):
        driver.run(1, show_progress=False)
    state.sampler_state = good.replace(σ=good.σ[:8])
    with pytest.raises(ValueError, match=r"shape \(16, 6\), but it has the shape \(8, 6\)"):
        driver.run(1, show_progress=False)
    state.sampler_state = good
    driver.run(1, show_progress=False)


def test_samples_that_are_put_in_must_belong_to_the_space():
    driver = driver_of(MetropolisExchange(BALANCED, graph=RING, n_chains=16))
    for samples, message in (
        (np.ones((4, 6)), "4 of 4 samples that a callback put in lie outside"),
        (np.ones((4, 5)), r"must have 6 sites .* \(4, 5\)"),
    ):

        def put(step, log_data, driver, samples=samples):
            driver.state._samples = samples

        with pytest.raises(ValueError, match=message):
            driver.run(
                1, callback=LambdaCallback(on_compute_update_start=put), show_progress=False
            )  # fmt: skip
    assert driver.step_count == 0


@pytest.mark.medium
def test_chains_of_netket_that_stay_at_zero_are_told():
    class Tiny(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = nk.models.Jastrow(param_dtype=float)(x)
            return jnp.where(jnp.abs(jnp.sum(x, axis=-1)) == 6, inner, -jnp.inf)

    hilbert = nk.hilbert.Spin(0.5, 6)
    driver = driver_of(nk.sampler.MetropolisLocal(hilbert, n_chains=16), Tiny())
    with pytest.raises(ValueError, match="of 16 chains of MetropolisSampler.* began where psi = 0"):
        driver.run(1, show_progress=False)


class Table(nn.Module):
    """A number for each configuration of four sites with up to three bosons."""

    @nn.compact
    def __call__(self, x):
        table = self.param("table", nn.initializers.normal(0.3), (4,) * 4, float)
        return table[tuple(jnp.moveaxis(x.astype(int), -1, 0))]


@pytest.mark.medium
def test_bosons_against_exact_diagonalisation():
    """The distribution at given parameters is tested in test_sweeps."""
    bosons = nk.operator.BoseHubbardJax(BOSONS, FOUR, U=1.0)
    state = mc_state(
        Table(), BOSONS, graph=FOUR, n_samples=512, sweep_size=12, seed=1, sampler_seed=2
    )
    driver = VMC(bosons, 0.03, variational_state=state, update=SR(1e-2))
    driver.run(80, show_progress=False)
    ground = np.linalg.eigvalsh(bosons.to_dense())[0]
    assert driver.loss.mean.real == pytest.approx(ground, rel=5e-3)


# Operators


def test_operators_must_stay_in_the_space():
    state = mc_state(nk.models.Jastrow(), BALANCED, graph=RING, n_samples=16)
    heisenberg = nk.operator.Heisenberg(BALANCED, RING)
    outside = nk.operator.spin.sigmax(BALANCED, 0)
    with pytest.raises(ValueError, match=r"hamiltonian: .*leads out of .*from \[.*\] to \["):
        VMC(nk.operator.IsingJax(BALANCED, RING, h=1.0), 0.1, variational_state=state)
    with pytest.raises(ValueError, match=r"observables\['mx'\]: .*leads out of"):
        VMC(heisenberg, 0.1, variational_state=state, observables={"mx": outside})
    strings = nk.operator.PauliStringsJax(BALANCED, ["XXIIII", "YYIIII"], [1.0, 1.0])
    VMC(heisenberg, 0.1, variational_state=state, observables={"xy": strings})


def test_couplings_must_be_numbers():
    hilbert = SPACES["spins"]
    ising = nk.operator.IsingJax(hilbert, FOUR, h=np.nan)
    with pytest.raises(ValueError, match="hamiltonian: .*not finite numbers; check its couplings"):
        VMC(ising, 0.1, variational_state=mc_state(nk.models.RBM(), hilbert, n_samples=16))


@pytest.mark.parametrize(
    "thing",
    [lambda state: 1.0, 1.0, None, [1.0], "mz"],
    ids=["function", "number", "none", "list", "text"],
)
def test_observables_are_operators(thing):
    hilbert = SPACES["spins"]
    ising = nk.operator.IsingJax(hilbert, FOUR, h=1.0)
    state = mc_state(nk.models.RBM(), hilbert, n_samples=16)
    instead = "for a function of the state use a callback" if callable(thing) else "are made with"
    with pytest.raises(TypeError, match=rf"observables\['f'\]: operators of NetKet.*{instead}"):
        VMC(ising, 0.1, variational_state=state, observables={"f": thing})
    driver = VMC(ising, 0.1, variational_state=state)
    started = LambdaCallback(on_run_start=lambda *_: pytest.fail("a hook was called"))
    with pytest.raises(TypeError, match=rf"obs\['f'\]: operators of NetKet.*{instead}"):
        driver.run(3, obs={"f": thing}, callback=started, show_progress=False)
    with pytest.raises(TypeError, match="obs takes a dict of name -> observable"):
        driver.run(3, obs=thing or 1, show_progress=False)
    other = nk.operator.spin.sigmaz(BALANCED, 0)
    with pytest.raises(ValueError, match=r"obs\['f'\]: .*build both on the same Hilbert space"):
        driver.run(3, obs={"f": other}, show_progress=False)
    with pytest.raises(
        TypeError, match="observables takes a dict of name -> operator or estimator"
    ):
        VMC(ising, 0.1, variational_state=state, observables=thing or 1)
    with pytest.raises(TypeError, match="hamiltonian: operators of NetKet"):
        VMC(thing, 0.1, variational_state=state)
