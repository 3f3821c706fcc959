"""Hubbard, t-V and J1-J2 models against exact diagonalisation and NetKet's operators."""

import functools

import netket as nk
import numpy as np
import pytest

from ritz.lattice import MetropolisExchange
from ritz.lattice.fermion_operators import hopping_operator
from ritz.lattice.systems import J1J2, Hubbard, SpinlessFermions
from tests.lattice.exact import dense

pytestmark = pytest.mark.netket


def modes(hilbert):
    """Annihilators of Jordan and Wigner on all occupations, and the rows of those in the space."""
    n, lower, sign = hilbert.size, np.array([[0, 1], [0, 0]]), np.diag([1, -1])
    found = []
    for i in range(n):
        parts = [sign] * i + [lower] + [np.eye(2)] * (n - i - 1)
        found.append(functools.reduce(np.kron, parts))
    rows = np.asarray(hilbert.all_states(), int) @ 2 ** np.arange(n)[::-1]
    return found, np.ix_(rows, rows)


def ground(operator):
    return np.linalg.eigvalsh(dense(operator))[0]


@pytest.mark.medium
def test_the_hubbard_model_is_that_of_creation_and_annihilation():
    system = Hubbard([2, 2], interaction=3.0, hopping=0.7, n_up=1, n_down=2)
    c, rows = modes(system.hilbert)
    edges = [(0, 1), (0, 2), (1, 3), (2, 3)]
    n = [one.T @ one for one in c]
    hops = sum(c[s + i].T @ c[s + j] for s in (0, 4) for i, j in edges)
    pairs = sum(n[i] @ n[4 + i] for i in range(4))
    expected = -0.7 * (hops + hops.T) + 3.0 * pairs
    np.testing.assert_allclose(dense(system.hamiltonian), expected[rows], atol=1e-14)
    double = dense(system.observables["double_occupancy"])
    np.testing.assert_allclose(double, pairs[rows] / 4, atol=1e-14)
    spins = [(n[4 + i] - n[i]) / 2 for i in range(4)]
    near = sum(spins[i] @ spins[j] for i, j in edges) / 4
    correlation = dense(system.observables["spin_correlation"])
    np.testing.assert_allclose(correlation, near[rows], atol=1e-14)


def test_complex_hopping_in_either_order():
    space = nk.hilbert.SpinOrbitalFermions(4, n_fermions=2)
    found = hopping_operator(space, [(2, 0), (1, 3)], [1 + 2j, -1j])
    c, rows = modes(space)
    half = (1 + 2j) * c[2].T @ c[0] - 1j * c[1].T @ c[3]
    np.testing.assert_allclose(dense(found), (half + half.conj().T)[rows], atol=1e-14)
    assert found == hopping_operator(space, [(0, 2), (1, 3)], [1 - 2j, -1j])
    assert hash(found) != hash(hopping_operator(space, [(0, 2), (1, 3)], [1 + 2j, -1j]))


@pytest.mark.medium
def test_exact_energies_without_interaction():
    hubbard = Hubbard([2, 3], interaction=0.0, n_up=2, n_down=1)
    assert hubbard.exact == pytest.approx(ground(hubbard.hamiltonian), abs=1e-12)
    chain = SpinlessFermions([6], interaction=0.0)
    assert chain.exact == pytest.approx(-4.0, abs=1e-12)  # -2 (1 + 1/2 + 1/2)
    assert chain.exact == pytest.approx(ground(chain.hamiltonian), abs=1e-12)
    assert Hubbard([2, 2]).exact is None


def test_two_sites_of_the_hubbard_model():
    """(U - sqrt(U^2 + 16 t^2)) / 2, with one bond also where the two sites are periodic."""
    for periodic in (True, False):
        system = Hubbard([2], interaction=8.0, periodic=periodic)
        assert ground(system.hamiltonian) == pytest.approx(4 - np.sqrt(80) / 2, abs=1e-12)


@pytest.mark.medium
def test_half_filling_of_four_by_two():
    energy = nk.exact.lanczos_ed(Hubbard([4, 2], interaction=8.0).hamiltonian)[0]
    assert energy == pytest.approx(-3.4671734, abs=1e-6)


def test_the_t_v_chain_is_a_heisenberg_chain():
    """V = 2t on a ring of an odd number of fermions: Jordan and Wigner's sum of S.S, shifted."""
    chain = SpinlessFermions([6], interaction=2.0)
    spins = nk.operator.Heisenberg(nk.hilbert.Spin(0.5, 6, total_sz=0), nk.graph.Chain(6))
    # 2 (Sz Sz) = 2 (n - 1/2)(n - 1/2) = 2 n n - n - n + 1/2; six bonds, three fermions.
    expected = ground(spins) / 2 + 2 * 3 - 6 / 2
    assert ground(chain.hamiltonian) == pytest.approx(expected, abs=1e-12)


def test_j1_j2_on_four_sites():
    """All spins of each diagonal make a triplet, and the two a singlet: -8 J1 + 2 J2."""
    for rule in (True, False):
        assert ground(J1J2([2, 2], J2=0.5, sign_rule=rule).hamiltonian) == pytest.approx(-7.0)


@pytest.mark.medium
def test_j1_j2_four_by_four():
    """Of Schulz, Ziman and Poilblanc, J. Phys. I 6, 675 (1996): -0.528620 per site in spins S."""
    energy = nk.exact.lanczos_ed(J1J2([4, 4], J2=0.5).hamiltonian)[0]
    assert energy / (4 * 16) == pytest.approx(-0.528620, abs=1e-6)


@pytest.mark.parametrize("periodic", [True, [True, False], False])
def test_bonds_of_j1_j2(periodic):
    bonds = {True: (24, 24), False: (17, 12)}.get(periodic if isinstance(periodic, bool) else None)
    system = J1J2([4, 3], J2=0.5, periodic=periodic, sign_rule=False)
    x = system.hilbert.all_states()[:1] * 0 + 1
    for J2, expected in ((0.0, 0), (1.0, 1)):
        aligned = J1J2([4, 3], J2=J2, J1=1 - J2, periodic=periodic, sign_rule=False)
        diagonal = aligned.hamiltonian.to_jax_operator().get_conn_padded(x)[1][0, 0]
        assert diagonal == (bonds or (20, 16))[expected]


def test_samplers_of_the_graph_reach_the_space():
    system = Hubbard([2, 2], n_up=2, n_down=1)
    MetropolisExchange(system.hilbert, graph=system.graph, n_chains=8)  # refuses others
    with pytest.raises(ValueError, match="lead out of the space|no path leads"):
        MetropolisExchange(system.hilbert, graph=nk.graph.Chain(8), n_chains=8)


REFUSED = {
    "no sizes": (lambda: Hubbard([4, 0]), "extent takes the sizes"),
    "odd": (lambda: Hubbard([3]), "n_down is half of the sites by default, but there are 3"),
    "too many": (lambda: Hubbard([4], n_up=5), "n_up must be at most the 4 sites, but 5"),
    "directions": (lambda: SpinlessFermions([4], periodic=[True, True]), "each of 1 directions"),
    "a chain": (lambda: J1J2([4]), "extent takes two sizes"),
    "no sublattices": (lambda: J1J2([3, 4]), "no two sublattices.*sign_rule=false"),
    "one mode": (
        lambda: hopping_operator(Hubbard([2]).hilbert, [(1, 1)], 1.0),
        "pairs of different modes, from 0 to 3",
    ),
    "density": (
        lambda: hopping_operator(Hubbard([2]).hilbert, [(0, 1)], 1.0, np.ones((2, 2))),
        r"density must have the shape \(4, 4\), not \(2, 2\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_one_connected_configuration_a_bond():
    """NetKet's FermionOperator2nd has two."""
    assert Hubbard(4).hilbert == Hubbard([4]).hilbert  # a number stands for a chain
    system = Hubbard([2, 2])
    assert system.hamiltonian.max_conn_size == 9
    assert system.observables["double_occupancy"].max_conn_size == 1
    assert repr(system.hamiltonian).endswith("8 bonds)")
