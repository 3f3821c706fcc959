"""Orbitals of a mean field, as sums of Cartesian Gaussians or Slater functions, in JAX."""

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ritz.folders.files import atomic_write
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.determinants import log_sum_of_determinants
from ritz.molecule.pseudopotentials import check_basis, fitting_basis
from ritz.molecule.slater import exponent, valence

AnyArray: TypeAlias = Array | np.ndarray

SLATER = "slater"
"""In the place of a basis set: Slater's rules."""


class Orbitals(NamedTuple):
    """Occupied orbitals: sums of c x^a y^b z^c r^k exp(-alpha r^p) around nuclei.

    p is 2 for Gaussians and 1 for Slater functions, for which k may be other than 0. Coefficients
    of a sum of several products of determinants have a further first axis.
    """

    centres: Float[AnyArray, "n_functions 3"]
    """In bohr."""
    exponents: Float[AnyArray, " n_functions"]
    powers: Float[AnyArray, "n_functions 4"]
    """a, b, c and k of each function."""
    radial_power: Float[AnyArray, ""]
    """p."""
    up: Float[AnyArray, "*n_determinants n_functions n_up"]
    """Coefficients of the orbitals of electrons with spin up."""
    down: Float[AnyArray, "*n_determinants n_functions n_down"]

    def of_spin(
        self,
        electrons: Float[Array, "n 3"],
        coefficients: Float[AnyArray, "*n_determinants n_functions m"],
    ) -> Float[Array, "*n_determinants n m"]:
        """Values of orbitals at electrons."""
        vectors = electrons[:, None] - self.centres
        squares = jnp.sum(vectors**2, axis=-1)
        safe = jnp.where(squares > 0, squares, 1)
        distances = jnp.where(squares > 0, jnp.sqrt(safe), 0)
        decay = jnp.exp(-self.exponents * distances**self.radial_power)
        angular = jnp.prod(_powers(vectors, self.powers[:, :3]), axis=-1)
        radial = _powers(distances[..., None], self.powers[:, 3:])[..., 0]
        return (angular * radial * decay) @ coefficients

    def matrices(
        self, electrons: Float[Array, "n_electrons 3"]
    ) -> list[Float[Array, "*n_determinants n_spin n_spin"]]:
        """The matrix of each spin that has electrons: rows are electrons, columns orbitals."""
        n_up = self.up.shape[-1]
        parts = [(electrons[:n_up], self.up), (electrons[n_up:], self.down)]
        return [self.of_spin(places, c) for places, c in parts if c.shape[-1]]

    def sign_and_log(self, electrons: Float[Array, "n_electrons 3"]) -> tuple[Array, Array]:
        """Sign and log |psi| of the product of determinants, or of the sum of such products."""
        matrices = self.matrices(electrons)
        return log_sum_of_determinants([m if m.ndim == 3 else m[None] for m in matrices])

    def save(self, file: str | Path, source: str = "") -> None:
        """Write them into an .npz file.

        Args:
            file: The file.
            source: What they are the orbitals of, see `source_of`.
        """
        content = io.BytesIO()
        arrays = {n: np.asarray(x) for n, x in self._asdict().items()}
        np.savez(content, source=np.asarray(source), **arrays)  # type: ignore[arg-type]
        atomic_write(Path(file), content.getvalue())

    @classmethod
    def load(cls, file: str | Path) -> "Orbitals":
        """Read them from an .npz file.

        Raises:
            ValueError: If it does not hold orbitals.
        """
        try:
            with np.load(file, allow_pickle=False) as saved:
                return cls(**{name: saved[name] for name in cls._fields})
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} holds no orbitals: {error}") from error


def _powers(
    x: Float[Array, "*shape d"], powers: Float[AnyArray, "n d"]
) -> Float[Array, "*shape d"]:
    """X to small whole powers, with finite derivatives where x is 0."""
    result = jnp.ones_like(x)
    for k in range(1, 7):
        result = jnp.where(powers >= k, result * x, result)
    return result


GivenBasis: TypeAlias = str | Mapping[str, str] | None
"""A basis set for all elements or for each of them; None for those that fit."""


def basis_of(molecule: Molecule, basis: GivenBasis = None) -> dict[str, str]:
    """The basis set of each element, checked to belong to its pseudopotential.

    Args:
        molecule: The molecule.
        basis: A basis set of PySCF for all elements, or element -> basis set. Elements without one
            get cc-pvdz, or the one of this size that belongs to their pseudopotential.

    Raises:
        ValueError: If they are no names for elements of the molecule; or if one is for all
            electrons, and its element has a pseudopotential.
    """
    names, found = dict(check_molecule(molecule).ecp), {}
    texts = basis.values() if isinstance(basis, Mapping) else [basis]
    others = set(basis) - set(molecule.symbols) if isinstance(basis, Mapping) else ()
    if others or not all(text is None or isinstance(text, str) for text in texts):
        elements = ", ".join(sorted(set(molecule.symbols)))
        raise ValueError(
            "basis takes a name such as 'cc-pvtz', or names by element, such as {'H': 'cc-pvtz'}, "
            f"for {elements}; but {basis!r} was given."
        )
    for element in sorted(set(molecule.symbols)):
        given = basis.get(element) if isinstance(basis, Mapping) else basis
        name = names.get(element)
        if given is not None and name is not None:
            check_basis(given, element, name)
        found[element] = fitting_basis(element, name) if given is None else given
    return found


class MeanField(NamedTuple):
    """Occupied and empty orbitals of a mean field, in the order of their energies in each spin."""

    orbitals: Orbitals
    """All of them, more than there are electrons."""
    energies: tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]
    """Of the orbitals of both spins, in hartree."""

    def occupied(self, molecule: Molecule) -> Orbitals:
        """The orbitals of the molecule's electrons: the lowest of each spin."""
        up, down = self.orbitals.up[:, : molecule.n_up], self.orbitals.down[:, : molecule.n_down]
        return self.orbitals._replace(up=up, down=down)


def hartree_fock(molecule: Molecule, basis: GivenBasis = None) -> Orbitals:
    """Orbitals of unrestricted Hartree-Fock, from PySCF.

    Args:
        molecule: The molecule.
        basis: A basis set of PySCF, or element -> basis set; by default cc-pvdz, or the one of
            this size that belongs to the pseudopotential of an element.

    Raises:
        ValueError: If PySCF does not know the basis for an element, or if it is for all electrons
            and the element has a pseudopotential.
        RuntimeError: If the iteration does not converge.
        ritz.extras.MissingExtra: If PySCF is not installed.
    """
    return hartree_fock_field(molecule, basis).occupied(molecule)


def hartree_fock_field(molecule: Molecule, basis: GivenBasis = None) -> MeanField:
    """All orbitals of unrestricted Hartree-Fock, see `hartree_fock`."""
    from ritz.extras import needs

    with needs("pretraining on Hartree-Fock orbitals", "molecule"):
        from pyscf import gto, scf
    check_molecule(molecule)
    atoms = list(zip(molecule.symbols, molecule.positions, strict=True))
    bases = basis_of(molecule, basis)
    told = " and ".join(sorted(set(bases.values())))
    try:
        with warnings.catch_warnings():  # where else basis sets may be found
            warnings.simplefilter("ignore", UserWarning)
            mole = gto.M(
                atom=atoms, unit="bohr", basis=bases, ecp=dict(molecule.ecp), cart=True,
                charge=molecule.charge, spin=molecule.spin, verbose=0,
            )  # fmt: skip
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"basis={told!r} is none that PySCF has for {', '.join(sorted(set(molecule.symbols)))}"
            f": {' '.join(str(error).split())}"
        ) from error
    field: Any = scf.UHF(mole)
    if molecule.n_electrons > 1:
        field.kernel()
        if not field.converged:
            field = field.newton()
            field.kernel()
        if not field.converged:
            raise RuntimeError(
                f"the Hartree-Fock iteration of {molecule.name} does not converge in {told}; give "
                "another basis, or pretrain no orbitals (pretrain.iterations=0)."
            )
        # Occupied orbitals first; they are the lowest ones as a rule only.
        order = [
            np.lexsort((e, n == 0)) for e, n in zip(field.mo_energy, field.mo_occ, strict=True)
        ]
        energies, vectors = field.mo_energy, field.mo_coeff
    else:
        energies, vectors = field.eig((field.get_hcore(),) * 2, field.get_ovlp())
        order = [np.argsort(e) for e in energies]
    centres, exponents, powers, to_functions = _primitives(mole)
    both = list(zip(order, energies, vectors, strict=True))
    up, down = (to_functions @ c[:, places] for places, _, c in both)
    orbitals = Orbitals(centres, exponents, powers, np.asarray(2.0), up, down)
    return MeanField(orbitals, (both[0][1][order[0]], both[1][1][order[1]]))


def _primitives(mole: Any) -> tuple[np.ndarray, ...]:
    """Centres, exponents and powers of all primitive functions, and the matrix to contract them."""
    found, rows = [], []
    column = 0
    for shell in range(mole.nbas):
        momentum, centre = mole.bas_angular(shell), mole.bas_coord(shell)
        exponents, contraction = mole.bas_exp(shell), mole._libcint_ctr_coeff(shell)
        factor = math.sqrt((2 * momentum + 1) / (4 * math.pi)) if momentum < 2 else 1.0
        cartesian = [
            (a, b, momentum - a - b)
            for a in range(momentum, -1, -1)
            for b in range(momentum - a, -1, -1)
        ]
        for contracted in contraction.T:
            for powers in cartesian:
                for alpha, coefficient in zip(exponents, contracted, strict=True):
                    found.append((*centre, alpha, *powers, 0))
                    row = np.zeros(mole.nao_cart())
                    row[column] = factor * coefficient
                    rows.append(row)
                column += 1
    table = np.array(found)
    return table[:, :3], table[:, 3], table[:, 4:8], np.array(rows)


def slater_orbitals(molecule: Molecule) -> Orbitals:
    """Orbitals of an atom by Slater's rules, without any iteration.

    Those of one symmetry are made orthogonal, and normalised up to factors of the angles. With a
    pseudopotential they are the orbitals outside the core.

    Raises:
        ValueError: If it is no atom, or has electrons beyond its p shells.
    """
    return slater_field(molecule).occupied(molecule)


def slater_field(molecule: Molecule, n_empty: int = 0) -> MeanField:
    """Orbitals by Slater's rules, at least `n_empty` of them empty; see `slater_orbitals`.

    Their energies are those of hydrogen's 1s with the same exponents.
    """
    if len(check_molecule(molecule).symbols) > 1:
        raise ValueError(
            f"Slater's rules are for atoms, and {molecule.name} has {len(molecule.symbols)}; "
            "pretrain on orbitals of Hartree-Fock."
        )
    charge, n_core = molecule.numbers[0], molecule.n_core[0]
    n_most = max(molecule.n_up, molecule.n_down)
    shells = valence(charge, n_core, max(charge, 2 * (n_most + n_empty) + n_core))
    if any(momentum > 1 for _, momentum in shells):
        raise ValueError(
            f"Slater's rules are used for s and p shells, and {molecule.name} has d electrons; "
            "pretrain on orbitals of Hartree-Fock."
        )
    exponents, powers = [], []
    for n, momentum in shells:
        for direction in np.eye(3, dtype=int) if momentum else np.zeros((1, 3), int):
            exponents.append(exponent(charge, n, momentum))
            powers.append((*direction, n - 1 - momentum))
    coefficients = _orthonormal(np.array(exponents), np.array(powers))
    energies = -(np.array(exponents) ** 2) / 2
    orbitals = Orbitals(
        centres=np.tile(molecule.coordinates[0], (len(exponents), 1)),
        exponents=np.array(exponents),
        powers=np.array(powers),
        radial_power=np.asarray(1.0),
        up=coefficients,
        down=coefficients,
    )
    return MeanField(orbitals, (energies, energies))


def _orthonormal(
    exponents: Float[np.ndarray, " n"], powers: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "n n"]:
    """Coefficients of Slater functions orthonormal to the lower ones of the same symmetry."""
    n = len(exponents)
    overlap = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if np.array_equal(powers[i, :3], powers[j, :3]):
                power = int(powers[i].sum() + powers[j].sum()) + 2
                overlap[i, j] = math.factorial(power) / (exponents[i] + exponents[j]) ** (power + 1)
    result = np.eye(n)
    for k in range(n):
        for lower in range(k):
            result[:, k] -= result[:, lower] * (result[:, lower] @ overlap @ result[:, k])
        result[:, k] /= np.sqrt(result[:, k] @ overlap @ result[:, k])
    return result


def source_of(molecule: Molecule, basis: GivenBasis = None) -> str:
    """The molecule and the basis as text, which tells for what saved orbitals can be used."""
    nuclei = list(zip(molecule.symbols, molecule.positions, strict=True))
    bases = {"": SLATER} if basis == SLATER else basis_of(molecule, basis)
    told = ", ".join(f"{e} {b}" for e, b in bases.items()) if len({*bases.values()}) > 1 else None
    cores = f", ecp {dict(molecule.ecp)}" if molecule.ecp else ""
    return (
        f"{nuclei}, charge {molecule.charge}, spin {molecule.spin}{cores}, "
        f"basis {told or next(iter(bases.values()))}"
    )


def saved_source(file: str | Path) -> str:
    """The `source` with which orbitals were saved in a file; empty if it holds none."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            return str(saved["source"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return ""


def orbitals_of(molecule: Molecule, basis: GivenBasis = None) -> Orbitals:
    """Orbitals of Hartree-Fock, or of Slater's rules for basis="slater", in double precision."""
    found = slater_orbitals(molecule) if basis == SLATER else hartree_fock(molecule, basis)
    return jax.tree.map(lambda x: np.asarray(x, float), found)
