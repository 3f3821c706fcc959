"""Orbitals of mean fields, and pretraining on them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ritz.loggers import RuntimeLog
from ritz.molecule import FermiNet, Molecule
from ritz.molecule.orbitals import Orbitals, hartree_fock, orbitals_of, slater_orbitals
from ritz.molecule.pretraining import Pretraining


@pytest.mark.medium
@pytest.mark.parametrize("basis", ["cc-pvdz", "sto-3g"])
def test_orbitals_are_those_of_pyscf(basis, tmp_path):
    from pyscf import gto

    molecule = Molecule("LiH")
    orbitals = hartree_fock(molecule, basis)
    mole = gto.M(
        atom=list(zip(molecule.symbols, molecule.positions, strict=True)), unit="bohr",
        basis=basis, cart=True, verbose=0,
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(4, 3))
    atomic = mole.eval_gto("GTOval_cart", x)
    with jax.enable_x64(True):
        primitives = orbitals._replace(up=np.eye(len(orbitals.exponents))).of_spin(x, orbitals.up)
        exact = np.linalg.lstsq(atomic, np.asarray(primitives), rcond=None)
        np.testing.assert_allclose(atomic @ exact[0], primitives, atol=1e-10)
        overlap = mole.intor("int1e_ovlp_cart")
        # The occupied orbitals are orthonormal in the overlap of PySCF's functions.
        many = np.random.default_rng(1).normal(size=(400, 3)) * 3
        c = np.linalg.lstsq(mole.eval_gto("GTOval_cart", many), orbitals.of_spin(many, orbitals.up))
        np.testing.assert_allclose(c[0].T @ overlap @ c[0], np.eye(2), atol=1e-8)
    orbitals.save(tmp_path / "o.npz")
    again = Orbitals.load(tmp_path / "o.npz")
    assert all(np.array_equal(a, b) for a, b in zip(again, orbitals, strict=True))
    with pytest.raises(ValueError, match="holds no orbitals"):
        Orbitals.load(tmp_path / "nothing.npz")


def test_slater_orbitals_are_orthonormal():
    """By quadrature over the radius; the angles of p orbitals give 1/3 of 4 pi."""
    orbitals = slater_orbitals(Molecule("C"))
    assert orbitals.up.shape == (5, 4) and orbitals.down.shape == (5, 2)
    r = np.linspace(1e-6, 40, 200_000)
    points = np.stack([0 * r, 0 * r, r], axis=-1)  # along z, where 2p_x and 2p_y vanish
    with jax.enable_x64(True):
        values = np.asarray(Orbitals(*orbitals).of_spin(points, np.eye(5) @ orbitals.up))
    s = values[:, :2]
    radial = np.trapezoid(s[:, :, None] * s[:, None] * r[:, None, None] ** 2, r, axis=0)
    np.testing.assert_allclose(radial, np.eye(2), atol=1e-6)


@pytest.mark.parametrize(("molecule", "told"), [
    (Molecule("H2"), "Slater's rules are for atoms, and H2 has 2"),
    (Molecule([("Fe", (0, 0, 0))], spin=4), "has d electrons; pretrain on orbitals of Hartree"),
])  # fmt: skip
def test_where_slater_s_rules_end(molecule, told):
    with pytest.raises(ValueError, match=told):
        slater_orbitals(molecule)


def test_an_unknown_basis_is_told():
    with pytest.raises(ValueError, match="basis='cc-pvxz' is none that PySCF has for He"):
        hartree_fock(Molecule("He"), "cc-pvxz")


@pytest.mark.medium
@pytest.mark.parametrize(("name", "full", "basis"), [
    ("Li", True, "cc-pvdz"), ("N", True, "slater"), ("H", False, "sto-3g"),
])  # fmt: skip
def test_the_loss_goes_to_zero_also_with_unequal_spins(name, full, basis):
    """Targets of a determinant over all electrons are the product of those of each spin."""
    molecule = Molecule(name)
    network = FermiNet(molecule, hidden=((16, 8),), n_determinants=2, full_determinant=full)
    driver = Pretraining(
        molecule, network, orbitals_of(molecule, basis), optax.adam(1e-2), n_walkers=64
    )
    driver.burn_in(20)
    log = RuntimeLog()
    driver.run(300, out=log, show_progress=False)
    loss = log.data["loss"].values
    assert np.mean(loss[-20:]) < 0.02 * np.mean(loss[:5])
    assert 0.2 < log.data["acceptance"].values[-1] < 0.8
    # Far from the mean field nothing is finite but the signs: psi is not zero.
    found = driver.state.wavefunction.sign_and_log(driver.parameters, driver.state.electrons)
    assert np.all(np.isfinite(found[1])) and np.all(jnp.abs(found[0]) == 1)


def test_pretraining_refuses_what_has_no_orbitals():
    molecule = Molecule("He")
    with pytest.raises(TypeError, match="only wave functions with orbitals can be pretrained"):
        Pretraining(molecule, lambda p, x: (1.0, 0.0), orbitals_of(molecule, "slater"))
    with pytest.raises(ValueError, match="orbitals are for 1 electrons with spin up and 1"):
        Pretraining(Molecule("Li"), FermiNet(Molecule("Li")), orbitals_of(molecule, "slater"))


def test_occupied_orbitals_are_those_with_electrons(monkeypatch):
    """A second-order iteration may end with orbitals that are not sorted."""
    from pyscf import scf

    class Unsorted(scf.uhf.UHF):
        def kernel(self, *args, **settings):
            energy = super().kernel(*args, **settings)
            self.mo_coeff = np.asarray(self.mo_coeff)[:, :, ::-1]
            self.mo_occ = np.asarray(self.mo_occ)[:, ::-1]
            return energy

    molecule, x = Molecule("Li"), np.random.default_rng(0).normal(size=(3, 3))
    with jax.enable_x64(True):
        wanted = hartree_fock(molecule, "sto-3g").sign_and_log(x)[1]
        monkeypatch.setattr(scf, "UHF", Unsorted)
        found = hartree_fock(molecule, "sto-3g").sign_and_log(x)[1]
    np.testing.assert_allclose(found, wanted)


class Turned(FermiNet):
    """A Fermi net with a complex factor, whose phase is a parameter."""

    def make_layers(self):
        super().make_layers()
        self.factor = self.param("factor", lambda _: jnp.exp(jnp.asarray(2.0j)))

    def _orbitals(self, *given):
        return [self.factor * part for part in super()._orbitals(*given)]


@pytest.mark.medium
def test_complex_orbitals_come_close_to_real_ones():
    molecule = Molecule("He")
    network = Turned(molecule, hidden=((8, 4),), n_determinants=1)
    orbitals = orbitals_of(molecule, "slater")
    driver = Pretraining(molecule, network, orbitals, optax.adam(3e-2), n_walkers=32)
    log = RuntimeLog()
    driver.run(150, out=log, show_progress=False)
    loss = log.data["loss"].values
    assert np.all(np.isreal(loss)) and np.mean(loss[-10:]) < 0.05 * loss[0]
    assert driver.state.wavefunction.is_complex
