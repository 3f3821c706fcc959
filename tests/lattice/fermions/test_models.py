"""Wave functions of fermions against determinants and exact ground states."""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from jax.test_util import check_grads

from ritz.lattice import VMC, mc_state
from ritz.lattice.models import (
    Pfaffian,
    SlaterBackflow,
    free_orbitals,
    hartree_fock_orbitals,
)
from ritz.lattice.systems import Hubbard, SpinlessFermions
from ritz.updates import SR, MinSR
from tests.lattice.exact import dense

pytestmark = pytest.mark.netket

SQUARE = Hubbard([2, 2], interaction=4.0)
LATTICE = nk.graph.Grid([2, 2], pbc=False)
UNEQUAL = Hubbard([2, 2], n_up=2, n_down=1)
TOTAL = nk.hilbert.SpinOrbitalFermions(4, s=1 / 2, n_fermions=3)
RNG = np.random.default_rng(0)


def amplitudes(model, hilbert, seed=0, variables=None):
    x = hilbert.all_states()
    variables = variables or jax.jit(model.init)(jax.random.key(seed), x[:1])
    log_psi = np.asarray(jax.jit(model.apply)(variables, x))
    assert log_psi.dtype == complex and log_psi.shape == (len(x),)
    psi = np.exp(log_psi)
    return psi / np.linalg.norm(psi)


def overlap(a, b):
    return abs(np.vdot(a, b))


@pytest.mark.medium
@pytest.mark.parametrize("system", [SQUARE, UNEQUAL], ids=["equal", "unequal"])
def test_determinants_are_those_of_netket(system):
    """With the same orbitals, signs included."""
    numbers = system.hilbert.n_fermions_per_spin
    orbitals = [RNG.normal(size=(4, n)) for n in numbers]
    reference = nk.models.Slater2nd(system.hilbert, restricted=False)
    expected = amplitudes(
        reference,
        system.hilbert,
        variables={"params": {f"M_{i}": jnp.asarray(o) for i, o in enumerate(orbitals)}},
    )
    for options in ({}, {"generalized": False}):
        model = SlaterBackflow(system.hilbert, depth=0, orbitals=orbitals, **options)
        assert overlap(amplitudes(model, system.hilbert), expected) == pytest.approx(1, abs=1e-12)


@pytest.mark.medium
@pytest.mark.parametrize(
    "hilbert",
    [SQUARE.hilbert, UNEQUAL.hilbert, TOTAL, nk.hilbert.SpinOrbitalFermions(5, n_fermions=3)],
    ids=["even", "odd", "total", "spinless"],
)
def test_determinants_are_pfaffians(hilbert):
    orbitals = RNG.normal(size=(hilbert.size, hilbert.n_fermions))
    slater = SlaterBackflow(hilbert, depth=0, orbitals=orbitals)
    pfaffian = Pfaffian(hilbert, orbitals=orbitals)
    both = [amplitudes(model, hilbert) for model in (slater, pfaffian)]
    assert overlap(*both) == pytest.approx(1, abs=1e-12)


def test_free_fermions_are_exact():
    chain = SpinlessFermions([6], interaction=0.0)
    for kind in (SlaterBackflow, Pfaffian):
        model = kind(chain.hilbert, depth=0, orbitals=free_orbitals(chain.graph, 3))
        psi = amplitudes(model, chain.hilbert)
        np.testing.assert_allclose(dense(chain.hamiltonian) @ psi, chain.exact * psi, atol=1e-12)


def test_pairs_of_a_bcs_state():
    """One pair of each momentum: det of the pair amplitudes between spins, up to a sign."""
    hilbert = SQUARE.hilbert
    pairs = RNG.normal(size=(4, 4))
    whole = np.zeros((8, 8))
    whole[:4, 4:] = pairs  # spin down with spin up
    model = Pfaffian(hilbert, jastrow=False)
    upper = whole[np.triu_indices(8, k=1)]
    found = amplitudes(model, hilbert, variables={"params": {"pairs": jnp.asarray(upper)[None]}})
    x = np.asarray(hilbert.all_states(), bool)
    expected = np.array([np.linalg.det(pairs[row[:4]][:, row[4:]]) for row in x])
    assert overlap(found, expected / np.linalg.norm(expected)) == pytest.approx(1, abs=1e-12)


MODELS = {
    "each spin": lambda **o: SlaterBackflow(SQUARE.hilbert, width=4, generalized=False, **o),
    "generalized": lambda **o: SlaterBackflow(TOTAL, depth=2, width=4, n_determinants=2, **o),
    "pfaffian": lambda **o: Pfaffian(UNEQUAL.hilbert, depth=1, width=4, n_pfaffians=2, **o),
}


@pytest.mark.medium
@pytest.mark.parametrize("kind", [float, complex])
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_and_phases(name, kind):
    model = MODELS[name](param_dtype=kind)
    x = model.hilbert.all_states()[::7][:4]
    variables = jax.jit(model.init)(jax.random.key(1), x)
    log_psi = jax.jit(model.apply)(variables, x)
    assert np.all(np.isin(log_psi.imag, [0, np.pi])) == (kind is float)
    assert jax.jit(model.apply)(variables, x.reshape(2, 2, -1)).shape == (2, 2)

    def value(params):
        found = model.apply({"params": params}, x)
        return found.real, jnp.exp(1j * found.imag)

    check_grads(jax.jit(value), (variables["params"],), order=1, modes=["fwd", "rev"], rtol=1e-5)


def test_given_orbitals_are_where_the_network_begins():
    orbitals = hartree_fock_orbitals(LATTICE, n_up=2, n_down=2, interaction=4.0)
    plain, network = (
        SlaterBackflow(SQUARE.hilbert, depth=d, width=4, orbitals=orbitals) for d in (0, 1)
    )
    near = overlap(amplitudes(plain, SQUARE.hilbert), amplitudes(network, SQUARE.hilbert))
    assert 0.9 < near < 1 - 1e-6


def test_hartree_fock_lowers_the_energy():
    """Of the antiferromagnet, in which spins alternate."""
    down, up = hartree_fock_orbitals(LATTICE, n_up=2, n_down=2, interaction=8.0)
    for one in (down, up):
        np.testing.assert_allclose(one.T @ one, np.eye(2), atol=1e-12)
    polarisation = np.sum(up**2 - down**2, axis=1)
    assert np.all(polarisation * [1, -1, -1, 1] > 0.8) or np.all(
        polarisation * [-1, 1, 1, -1] > 0.8
    )
    system = Hubbard([2, 2], interaction=8.0)
    energies = []
    for orbitals in ((down, up), free_orbitals(LATTICE, 2)):
        model = SlaterBackflow(system.hilbert, depth=0, orbitals=orbitals)
        psi = amplitudes(model, system.hilbert)
        energies.append(np.vdot(psi, dense(system.hamiltonian) @ psi).real)
    assert energies[0] < energies[1] - 1


@pytest.mark.medium
@pytest.mark.parametrize("kind", [SlaterBackflow, Pfaffian])
def test_the_hubbard_square_to_its_ground_state(kind):
    model = kind(SQUARE.hilbert, depth=1, width=8)
    state = nk.vqs.FullSumState(SQUARE.hilbert, model, seed=1)
    driver = VMC(SQUARE.hamiltonian, 0.1, variational_state=state, update=MinSR(1e-3))
    assert driver.mode == "real"
    driver.run(150, show_progress=False)
    exact = -2.1027484834620718  # by exact diagonalisation
    assert -1e-10 < driver.loss.mean.real - exact < 1e-3 * abs(exact)


@pytest.mark.medium
def test_samples_agree_with_the_full_sum():
    """Energy and double occupancy of frozen parameters, within their error bars."""
    model = SlaterBackflow(SQUARE.hilbert, width=4, n_determinants=2)
    state = mc_state(model, SQUARE.hilbert, graph=SQUARE.graph, n_samples=1024, seed=3)
    full = nk.vqs.FullSumState(SQUARE.hilbert, model, variables=state.variables)
    driver = VMC(
        SQUARE.hamiltonian,
        0.0,
        variational_state=state,
        observables=SQUARE.observables,
        update=SR(1e-2),
    )
    driver.burn_in(20)
    rows = [dict(step.log_data) for step in driver.steps(10, show_progress=False)]
    for name, operator in {"Energy": SQUARE.hamiltonian, **SQUARE.observables}.items():
        means = [row[name].mean.real for row in rows]
        error = max(np.std(means, ddof=1), rows[0][name].error_of_mean) / np.sqrt(len(rows))
        assert abs(np.mean(means) - full.expect(operator).mean.real) < 5 * error


REFUSED = {
    "spins": (lambda: SlaterBackflow(nk.hilbert.Spin(0.5, 4)), TypeError, "is for fermions"),
    "number": (
        lambda: Pfaffian(nk.hilbert.SpinOrbitalFermions(4)),
        ValueError,
        "needs a fixed number of fermions.*n_fermions_per_spin",
    ),
    "mixed spins": (
        lambda: SlaterBackflow(TOTAL, generalized=False),
        ValueError,
        "leave generalized=True",
    ),
    "width": (lambda: SlaterBackflow(SQUARE.hilbert, width=0), ValueError, "width must be a whole"),
    "shape": (
        lambda: SlaterBackflow(SQUARE.hilbert, orbitals=np.ones((4, 3))),
        ValueError,
        r"orbitals must have the shape \(4, 2\).*\(4, 3\) was given",
    ),
    "spins given": (
        lambda: Pfaffian(SQUARE.hilbert, orbitals=[np.ones((4, 2))]),
        ValueError,
        "an array for each of 2 spins, but 1 were given",
    ),
    "not finite": (
        lambda: Pfaffian(SQUARE.hilbert, orbitals=np.full((4, 2), np.nan)),
        ValueError,
        "orbitals has numbers that are not finite",
    ),
    "complex": (
        lambda: SlaterBackflow(SQUARE.hilbert, orbitals=np.ones((4, 2)) * 1j).init(
            jax.random.key(0), SQUARE.hilbert.all_states()[:1]
        ),
        ValueError,
        "give param_dtype=complex",
    ),
    "sites": (
        lambda: SlaterBackflow(SQUARE.hilbert).init(jax.random.key(0), jnp.ones((1, 4))),
        ValueError,
        "made for 8 sites",
    ),
    "orbitals": (lambda: free_orbitals(LATTICE, 5), ValueError, "n_orbitals must be at most"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        make()
