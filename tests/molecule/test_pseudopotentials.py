"""Molecules with pseudopotentials, and their energies against exact results."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from ritz.loggers import RuntimeLog
from ritz.molecule import (
    VMC,
    Evaluation,
    FermiNet,
    Forces,
    LogPsi,
    Molecule,
    PseudopotentialEnergy,
    TotalEnergy,
)
from ritz.molecule.driver import energy_estimators
from ritz.molecule.estimators.pseudopotential import TOLERANCE, key_of
from ritz.molecule.estimators.sphere import EXACT_UP_TO, legendre, quadrature, rotation
from ritz.molecule.orbitals import basis_of, hartree_fock, orbitals_of, source_of
from ritz.molecule.pretraining import Pretraining
from ritz.molecule.pseudopotentials import radial
from ritz.molecule.walkers import initial_electrons
from ritz.testing import check_estimator

CCECP = "ccecp"
ORIGIN = (0, 0, 0)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def energies(molecule, psi, electrons, **settings):
    """Energies of the pseudopotentials alone."""
    estimator = PseudopotentialEnergy(molecule, **settings)
    log_psi = LogPsi(lambda _, x: psi(x), jnp.iscomplexobj(psi(electrons[0])[0]))
    return estimator.evaluate(log_psi, {}, jnp.asarray(electrons), {})


def local_energies(molecule, psi, electrons):
    log_psi, values = LogPsi(lambda _, x: psi(x)), {}
    estimators = energy_estimators(molecule)
    for name in estimators["energy"].uses:
        values[name] = estimators[name].evaluate(log_psi, {}, jnp.asarray(electrons), {})
    return estimators["energy"].evaluate(log_psi, {}, jnp.asarray(electrons), values)


@pytest.mark.parametrize(("name", "n_up", "n_down", "charge"), [
    ("N", 4, 1, 5), ("O", 4, 2, 6), ("Ne", 4, 4, 8), ("Li", 1, 0, 1), ("He", 1, 1, 2),
])  # fmt: skip
def test_electrons_of_cores_are_gone(name, n_up, n_down, charge):
    molecule = Molecule(name, ecp=CCECP)
    assert (molecule.n_up, molecule.n_down, molecule.charges) == (n_up, n_down, (charge,))
    assert molecule.cusp_charges == pytest.approx((0,)) and molecule.energy is None
    assert initial_electrons(molecule, 3).shape == (3, n_up + n_down, 3)
    assert molecule != Molecule(name) and hash(molecule) == hash(Molecule(name, ecp="ccECP"))


def test_some_elements_keep_all_electrons():
    molecule = Molecule("LiH", ecp={"Li": CCECP})
    assert molecule.charges == (1, 1) and molecule.n_electrons == 2
    np.testing.assert_allclose(molecule.cusp_charges, (0, 1), atol=1e-12)
    assert molecule.nuclear_repulsion == pytest.approx(1 / 3.015)
    assert basis_of(molecule) == {"H": "cc-pvdz", "Li": "ccecpccpvdz"}
    assert basis_of(molecule, {"H": "cc-pvtz"})["H"] == "cc-pvtz"
    with pytest.raises(ValueError, match=r"spin=1 .* 2 electrons of LiH have an even one"):
        Molecule("LiH", spin=1, ecp={"Li": CCECP})


@pytest.mark.parametrize(("atoms", "ecp", "told"), [
    ("Li", "nope", r"PySCF has no pseudopotential 'nope' for Li\. Give 'ccecp'"),
    ([("U", ORIGIN)], CCECP, "PySCF has no pseudopotential 'ccecp' for U"),
    ("LiH", {"N": CCECP}, "ecp names N, but the elements of the molecule are: H, Li"),
    ("Li", 3, r"such as {'Li': 'ccecp'}, but 3 was given"),
    ("Li", {"Li": None}, "ecp takes names such as 'ccecp', but None was given"),
    ([("Na", ORIGIN)], "lanl2dz", "'lanl2dz' of Na has poles in its parts of each angular"),
])  # fmt: skip
def test_pseudopotentials_that_cannot_be_had_are_told(atoms, ecp, told):
    with pytest.raises(ValueError, match=told):
        Molecule(atoms, ecp=ecp)


def test_bases_for_all_electrons_are_refused():
    molecule = Molecule("N", ecp=CCECP)
    told = "basis='cc-pvdz' does not belong to the pseudopotential 'ccecp' of N: give 'ccecpccpvdz'"
    for make in (hartree_fock, source_of, orbitals_of):
        with pytest.raises(ValueError, match=told):
            make(molecule, "cc-pvdz")
    assert "ecp {'N': 'ccecp'}, basis ccecpccpvdz" in source_of(molecule)
    assert source_of(Molecule("N")).endswith("spin 3, basis cc-pvdz")
    assert orbitals_of(molecule).up.shape[-1] == orbitals_of(molecule, "slater").up.shape[-1] == 4


def test_what_would_be_wrong_with_pseudopotentials_is_refused():
    molecule, params = Molecule("Li", ecp=CCECP), {"a": jnp.asarray(1.0)}

    def psi(params, x):
        return jnp.ones(()), -params["a"] * jnp.sum(x**2)

    with pytest.raises(ValueError, match=r"molecule has pseudopotentials \(ccecp for Li\)"):
        Forces(molecule)
    with pytest.raises(ValueError, match="leaves out pseudopotential, and Li has"):
        VMC(molecule, psi, params=params, n_walkers=4, estimators={"energy": TotalEnergy()})
    for name, value in (("n_points", 7), ("n_nearest", 0), ("chunk_size", 0)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            PseudopotentialEnergy(molecule, **{name: value})
    with pytest.raises(TypeError, match="needs the sign of psi"):
        PseudopotentialEnergy(molecule).evaluate(lambda p, x: x, {}, jnp.ones((2, 1, 3)), {})


@pytest.mark.parametrize("n_points", EXACT_UP_TO)
def test_quadratures_are_exact_up_to_their_degree(n_points):
    """Means of x^a y^b z^c over the sphere are products of double factorials."""
    points, weights = quadrature(n_points)
    assert len(points) == n_points
    turned = points @ np.asarray(rotation(jnp.asarray([0.3, -1.2, 0.5, 0.7]))).T

    def double_factorial(n):
        return math.prod(range(n, 0, -2))

    def error(degree):
        worst = 0.0
        for powers in itertools.product(range(degree + 1), repeat=3):
            if sum(powers) == degree:
                even = all(k % 2 == 0 for k in powers)
                top = math.prod(double_factorial(k - 1) for k in powers) if even else 0
                exact = top / double_factorial(degree + 1)
                worst = max(worst, abs(weights @ np.prod(turned**powers, axis=1) - exact))
        return worst

    best = EXACT_UP_TO[n_points]
    assert all(error(degree) < 1e-13 for degree in range(best + 1)) and error(best + 1) > 1e-4


def test_rotations_are_uniform_and_those_of_each_configuration():
    """z of a turned z axis is uniform in (-1, 1), and two axes are independent otherwise."""
    electrons = np.random.default_rng(0).normal(size=(3000, 2, 3)).astype(np.float32)
    electrons[1:] = electrons[0]
    electrons[:, 1, 2] = np.arange(3000) * 2.0**-23 + 1  # one bit after the other
    keys = jax.vmap(key_of)(jnp.asarray(electrons))
    turns = np.asarray(jax.vmap(lambda key: rotation(jax.random.normal(key, (4,))))(keys))
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.eye(3)[None] + 0 * turns,
                               atol=1e-12)  # fmt: skip
    for entry in turns.reshape(-1, 9).T:
        assert stats.kstest(entry, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    bound = 5 / np.sqrt(3000)
    assert np.abs(np.corrcoef(turns.reshape(-1, 9).T) - np.eye(9)).max() < bound
    assert np.abs(np.corrcoef(turns[1:, 2, 2], turns[:-1, 2, 2])[0, 1]) < bound
    again = jax.vmap(key_of)(jnp.asarray(electrons[:5]))
    assert np.array_equal(jax.random.key_data(again), jax.random.key_data(keys[:5]))


@pytest.mark.medium
@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("place", [ORIGIN, (1.0, -2.0, 0.5)])
def test_angular_momenta_are_projected_exactly(place, phase):
    """psi = 1 + a P_1 + b P_2 along an axis, in Na, whose core has v_0 and v_1."""
    molecule = Molecule([("Na", place)], spin=1, ecp=CCECP)
    core = molecule.cores[0]
    axis = np.array([1.0, 2.0, -2.0]) / 3
    a, b = (0.7j, 0.4) if phase else (0.7, 0.4)

    def parts(x):
        r = x[0] - jnp.asarray(place)
        cosine = r @ axis / jnp.linalg.norm(r)
        return jnp.stack([1 + 0 * cosine, a * cosine, b * legendre(2, cosine)])

    def psi(x):
        value = jnp.sum(parts(x))
        return value / jnp.abs(value), jnp.log(jnp.abs(value))

    x = np.random.default_rng(1).normal(size=(5, 1, 3))
    r = jnp.linalg.norm(x[:, 0], axis=-1)
    split = jax.vmap(parts)(x + np.array(place))
    wanted = radial(core.local, r) + sum(
        radial(terms, r) * split[:, k] / split.sum(1) for k, terms in enumerate(core.channels)
    )
    for n_points in (6, 12, 50):  # 6 points are exact up to l = 3
        found = energies(molecule, psi, x + np.array(place), n_points=n_points, chunk_size=2)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.medium
def test_energies_do_not_change_as_an_atom_is_shifted_and_turned():
    """Four of five electrons of N fill 2s and 2p, one 2s: psi is invariant under rotations."""
    molecule, shift = Molecule("N", ecp=CCECP), (0.3, -4.0, 2.0)
    orbitals = hartree_fock(molecule)
    x = initial_electrons(molecule, 6)
    turn = np.asarray(rotation(jnp.asarray([0.2, 0.9, -0.4, 0.3])))
    there = Molecule([("N", shift)], spin=3, ecp=CCECP)
    shifted = orbitals._replace(centres=orbitals.centres + np.array(shift))
    begin = local_energies(molecule, orbitals.sign_and_log, x)
    after = local_energies(there, shifted.sign_and_log, x @ turn.T + np.array(shift))
    np.testing.assert_allclose(after, begin, rtol=1e-5)  # the field's convergence
    assert np.std(begin) > 0.1


@pytest.mark.medium
@pytest.mark.parametrize(("name", "dtype"), [
    ("H", np.float32), ("Li", np.float64), ("N", np.float32),
])  # fmt: skip
def test_energies_are_finite_everywhere(name, dtype):
    """On the core, on an axis, and without a non-local part (H)."""
    molecule = Molecule(name, ecp=CCECP)
    network = FermiNet(molecule, hidden=((8, 4),), n_determinants=1, dtype=dtype)
    x = initial_electrons(molecule, 6).astype(dtype)
    x[:5, 0] = (ORIGIN, (0, 0, 1.0), (0, 0, -1.0), (0.5, 0, 0), (0, 0, 1e-7))
    params = network.init(jax.random.key(0), x[5])["params"]
    found = local_energies(molecule, lambda e: network.apply({"params": params}, e), x)
    assert np.all(np.isfinite(found)) and np.abs(found).max() < 500
    if name == "Li":
        check_estimator(PseudopotentialEnergy(molecule), LogPsi(network), params, jnp.asarray(x))


def one_electron(molecule, basis):
    """The orbital of one electron and PySCF's energy in the pseudopotential, with its system."""
    from pyscf import gto, scf

    mole = gto.M(
        atom=list(zip(molecule.symbols, molecule.positions, strict=True)), unit="bohr",
        basis=basis, ecp=dict(molecule.ecp), charge=molecule.charge, spin=1, cart=True, verbose=0,
    )  # fmt: skip
    _, c = scf.hf.eig(scf.hf.get_hcore(mole), mole.intor("int1e_ovlp"))
    return mole, c[:, 0] @ mole.intor("ECPscalar") @ c[:, 0]


@pytest.mark.medium
def test_the_energy_of_a_core_is_that_of_pyscf():
    """For the electron of Li, by an integral along the radius."""
    molecule = Molecule("Li", ecp=CCECP)
    orbitals = hartree_fock(molecule, "ccecp-cc-pvtz")
    r = np.linspace(1e-4, 30, 6001)
    x = r[:, None, None] * np.array([0.6, 0.0, 0.8])
    density = np.exp(2 * np.asarray(jax.vmap(orbitals.sign_and_log)(x)[1])) * r**2
    found = energies(molecule, orbitals.sign_and_log, x)
    mean = np.trapezoid(density * found, r) / np.trapezoid(density, r)
    assert mean == pytest.approx(one_electron(molecule, "ccecp-cc-pvtz")[1], abs=1e-7)


@pytest.mark.slow
def test_the_energy_of_cores_in_a_molecule_is_that_of_pyscf():
    """For one electron between Li and Be, over the grid of a density functional."""
    from pyscf import dft

    atoms = [("Li", (0.2, 0, -2.0)), ("Be", (0, 0.5, 2.5))]
    molecule = Molecule(atoms, unit="bohr", charge=2, spin=1, ecp=CCECP)
    basis = "ccecp-cc-pvdz"
    orbitals = hartree_fock(molecule, basis)
    mole, exact = one_electron(molecule, basis)
    grid = dft.gen_grid.Grids(mole)
    grid.level = 1
    grid.build()
    weights = grid.weights * np.exp(
        2 * np.asarray(jax.vmap(orbitals.sign_and_log)(grid.coords[:, None])[1])
    )
    found = energies(molecule, orbitals.sign_and_log, grid.coords[:, None], n_points=26)
    mean = np.sum(weights * found) / weights.sum()
    assert mean == pytest.approx(exact, abs=2e-5) and abs(exact) > 0.1


@pytest.mark.medium
def test_far_cores_are_left_out():
    """The nearest of two is enough from twice the reach of v_l on, and both are taken before."""
    for distance, n_cores in ((2.068, 2), (2.6, 1)):
        atoms = [("N", ORIGIN), ("N", (0, 0, distance))]
        molecule = Molecule(atoms, unit="bohr", ecp=CCECP)
        assert PseudopotentialEnergy(molecule).n_cores == n_cores
        assert PseudopotentialEnergy(molecule, n_nearest=5).n_cores == 2
    assert PseudopotentialEnergy(Molecule("H2", ecp=CCECP)).n_cores == 0
    x = np.random.default_rng(0).normal(size=(40, 10, 3))
    x[..., 2] += 1.3

    def psi(x):
        return jnp.ones(()), -jnp.sum(jnp.log1p(x**2))

    all_of_them = energies(molecule, psi, x, n_nearest=2, n_points=50)
    assert np.abs(energies(molecule, psi, x, n_points=50) - all_of_them).max() < 10 * TOLERANCE


@pytest.mark.slow
def test_pretraining_takes_the_basis_that_fits():
    """N has four electrons with spin up and one with spin down."""
    molecule = Molecule("N", ecp=CCECP)
    network = FermiNet(molecule, hidden=((16, 8),), n_determinants=2)
    optimizer = optax.adam(1e-2)
    driver = Pretraining(molecule, network, orbitals_of(molecule), optimizer, n_walkers=64)
    driver.burn_in(20)
    driver.run(300, out=(log := RuntimeLog()), show_progress=False)
    loss = log["loss"].values
    assert np.mean(loss[-20:]) < 0.02 * np.mean(loss[:5])


@pytest.mark.slow
def test_one_electron_of_lithium_has_the_energy_of_hartree_fock():
    """Which is exact: -0.1968528 hartree in ccecp-cc-pvqz of PySCF."""
    molecule = Molecule("Li", ecp=CCECP)
    network = FermiNet(molecule, hidden=((8, 4),) * 2, n_determinants=1)
    driver = VMC(molecule, network, n_walkers=256, seed=1)
    driver.burn_in(50)
    driver.run(600, out=(log := RuntimeLog()), show_progress=False)
    assert {"kinetic", "potential", "pseudopotential"} <= set(log.data)
    fixed = Evaluation(
        molecule, network, driver.parameters, electrons=driver.state.electrons, n_walkers=256
    )
    fixed.run(60, out=(log := RuntimeLog()), show_progress=False)
    means = log["energy"]["Mean"].reshape(12, 5).mean(1)
    error = np.std(means, ddof=1) / np.sqrt(12)
    assert error < 5e-4 and -4 * error < np.mean(means) + 0.1968528 < 1e-3 + 4 * error
