"""Atomic structures with their labels."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import complete_cell
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from ritz.mlip.data.units import to_floats
from ritz.types import Settings


@dataclasses.dataclass(eq=False)
class Structure:
    """Positions and species of atoms, and energy, forces and stress where they are known.

    Args:
        positions: In Angstrom, of shape (n_atoms, 3). Atoms of periodic structures may be outside
            the cell.
        species: A chemical symbol for each atom.
        energy: The total energy in eV, or None.
        forces: In eV/Angstrom, of shape (n_atoms, 3), or None.
        cell: Lattice vectors as rows, in Angstrom; None for structures that are not periodic.
        pbc: Along which lattice vectors the structure is periodic; by default along all of a
            cell that was given.
        stress: In eV/Angstrom^3, of shape (3, 3), its 9 numbers in a row, or Voigt's (xx, yy, zz,
            yz, xz, xy), positive where the structure pulls inwards, as in ASE; or None.
        name: What it is called in messages and tables.
        weight: How much it counts in the loss.
        config_type: What kind of structure it is, as files of training data say; "IsolatedAtom"
            gives the energy of an atom, see `StructureDataset`.
        keys: Under which names its file had numbers; for messages.

    Raises:
        TypeError: If species or numbers have the wrong type.
        ValueError: If shapes do not match, or a value is not allowed.
    """

    positions: Float[np.ndarray, "n_atoms 3"]
    species: Sequence[str]
    energy: float | None = None
    forces: Float[np.ndarray, "n_atoms 3"] | None = None
    cell: Float[np.ndarray, "3 3"] | None = None
    pbc: Sequence[bool] | bool | None = None
    stress: Float[np.ndarray, "3 3"] | None = None
    name: str | None = None
    weight: float = 1.0
    config_type: str | None = None
    keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        what = "a structure" if self.name is None else f"structure {self.name!r}"
        self.species = _checked_symbols(self.species, what)
        n_atoms = len(self.species)
        self.positions = _array("positions", self.positions, (n_atoms, 3), what)
        if self.energy is not None:
            self.energy = float(_array("energy", self.energy, (), what))
        if self.forces is not None:
            self.forces = _array("forces", self.forces, (n_atoms, 3), what)
        if self.cell is not None:
            self.cell = _array("cell", self.cell, (3, 3), what)
        pbc = self.cell is not None if self.pbc is None else self.pbc
        self.pbc = tuple(map(bool, np.broadcast_to(np.asarray(pbc, bool), 3)))
        if self.stress is not None:
            self.stress = full_stress(self.stress, f"{what}: stress")
        self.weight = float(_array("weight", self.weight, (), what))
        self._check_cell(what)
        if self.weight < 0:
            raise ValueError(f"{what}: weight must not be negative, but {self.weight!r} was given.")

    def _check_cell(self, what: str) -> None:
        if not np.any(self.pbc) and self.cell is None:
            return
        if self.cell is None:
            raise ValueError(f"{what}: pbc={self.pbc} needs a cell; give cell=..., 3 x 3.")
        if abs(np.linalg.det(complete_cell(self.cell))) < 1e-9 or any(
            np.asarray(self.pbc) & (np.linalg.norm(self.cell, axis=1) == 0)
        ):
            raise ValueError(f"{what}: its lattice vectors lie in one plane: {self.cell.tolist()}.")

    def __len__(self) -> int:
        return len(self.species)

    @property
    def n_atoms(self) -> int:
        """Number of atoms, in one cell where the structure is periodic."""
        return len(self.species)

    @property
    def is_periodic(self) -> bool:
        """Whether it is periodic along any lattice vector."""
        return bool(np.any(np.asarray(self.pbc)))

    @property
    def composition(self) -> dict[str, int]:
        """Number of atoms of each species."""
        symbols, counts = np.unique(np.asarray(self.species), return_counts=True)
        return {str(symbol): int(count) for symbol, count in zip(symbols, counts, strict=True)}

    @property
    def box(self) -> np.ndarray:
        """Three lattice vectors that are linearly independent, also where none were given."""
        return np.asarray(complete_cell(np.zeros((3, 3)) if self.cell is None else self.cell))

    @property
    def volume(self) -> float:
        """The volume of the cell in Angstrom^3."""
        return abs(float(np.linalg.det(self.box)))

    def to_ase(self) -> Atoms:
        """The structure as `ase.Atoms`, with energy, forces and stress in a calculator."""
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.stress import full_3x3_to_voigt_6_stress

        atoms = Atoms(list(self.species), self.positions, cell=self.cell, pbc=self.pbc)
        known: Settings = {"energy": self.energy, "forces": self.forces}
        if self.stress is not None:
            known["stress"] = full_3x3_to_voigt_6_stress(self.stress)
        known = {name: value for name, value in known.items() if value is not None}
        if known:
            atoms.calc = SinglePointCalculator(atoms, **known)
        return atoms


def _checked_symbols(species: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(species, str):
        raise TypeError(f"{what}: species is a list with a symbol for each atom, not {species!r}.")
    symbols = tuple(map(str, species))
    unknown = sorted({s for s in symbols if not atomic_numbers.get(s)})  # X, number 0, is a ghost
    if unknown:
        raise ValueError(f"{what}: {unknown} are no chemical symbols.")
    if not symbols:
        raise ValueError(f"{what} has no atoms.")
    return symbols


def full_stress(value: object, what: str) -> np.ndarray:
    """A matrix, from 9 numbers or the 6 of Voigt (xx, yy, zz, yz, xz, xy).

    Raises:
        TypeError: If it is no numbers.
        ValueError: If there are others, or they are not finite.
    """
    array = _floats(what, value)
    if array.shape == (6,):
        array = voigt_6_to_full_3x3_stress(array)
    elif array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape != (3, 3):
        raise ValueError(
            f"{what} must have 9 numbers, or 6 in the order xx, yy, zz, yz, xz, xy, but has the "
            f"shape {array.shape}."
        )
    _check_finite(what, array)
    return array


def _array(name: str, value: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    array = _floats(f"{what}: {name}", value)
    if array.shape != shape:
        raise ValueError(f"{what}: {name} must have the shape {shape}, but has {array.shape}.")
    _check_finite(f"{what}: {name}", array)
    return array


def _floats(what: str, value: object) -> np.ndarray:
    array = to_floats(value)
    if array is None:
        try:
            array = np.array(value, float)
        except (TypeError, ValueError):
            raise TypeError(f"{what} must be numbers, but {value!r} was given.") from None
    return np.array(array)


def _check_finite(what: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = tuple(map(int, bad[0]))
        at = f" at {list(place)}" if place else ""
        raise ValueError(f"{what} must be finite, but {float(array[place])} was given{at}.")


def checked_species(species: Sequence[str]) -> tuple[str, ...]:
    """Chemical symbols, each once.

    Raises:
        TypeError: If they are one string, or no list.
        ValueError: If one is no chemical symbol or is given twice, or there is none.
    """
    if isinstance(species, str):
        raise TypeError(f"species is a list of chemical symbols; write [{species!r}].")
    if not isinstance(species, Iterable):
        raise TypeError(f"species is a list of chemical symbols, but {species!r} was given.")
    listed = tuple(species)
    unknown = [s for s in listed if not isinstance(s, str) or s not in atomic_numbers or s == "X"]
    if unknown or not listed or len(set(listed)) < len(listed):
        raise ValueError(
            f"species must be different chemical symbols such as ['Ti', 'O'], but {species!r} "
            "was given."
        )
    return listed
