"""A molecule: nuclei, and the numbers of electrons with each spin."""

import copy
import dataclasses
import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.units import Bohr
from jaxtyping import Float

from ritz.checks import check_choice
from ritz.molecule.distances import check_apart, check_distances
from ritz.molecule.geometry.atoms_text import from_text, is_atoms_text
from ritz.molecule.library import LIBRARY
from ritz.molecule.pseudopotentials import (
    GivenPseudopotentials,
    Pseudopotential,
    names_by_element,
    pseudopotential,
)
from ritz.wording import counted

_logger = logging.getLogger(__name__)

UNITS = {"bohr": 1.0, "angstrom": 1 / Bohr}
"""Units of lengths, in bohr."""

Positions: TypeAlias = Sequence[float] | np.ndarray
GivenAtoms: TypeAlias = str | Path | Atoms | Sequence[tuple[str, Positions]]
"""A name of the library, an XYZ file, an `ase.Atoms`, (symbol, position) of each atom, or a text
with these."""


@dataclasses.dataclass(frozen=True, init=False)
class Molecule:
    """Nuclei at rest, and electrons. Lengths are in bohr, energies in hartree.

    Args:
        atoms: A name of the library, such as "LiH", see `ritz.molecule.library`; a file that ASE
            can read, such as water.xyz; an `ase.Atoms`; or a list of symbols and positions, such as
            `[("H", (0, 0, 0)), ("H", (0, 0, 1.4))]` or, as in PySCF, "H 0 0 0; H 0 0 1.4".
        unit: "bohr" or "angstrom", for lists of several atoms; the others say it themselves.
        charge: Total charge, in elementary charges.
        spin: n_up - n_down; by default that of the library, or 0.
        ecp: Pseudopotentials in place of the electrons of cores, by a name of PySCF: "ccecp" for
            those of Bennett et al., J. Chem. Phys. 147, 224106 (2017) for all elements, or
            `{"Li": "ccecp"}` for some. `charges` are those of the cores then.

    Raises:
        ValueError: For unknown elements, atoms on top of each other, a missing unit, charges and
            spins that no electrons have, and pseudopotentials that PySCF does not have.
        FileNotFoundError: If there is no such file.
        ritz.extras.MissingExtra: If there are pseudopotentials, and PySCF is not installed.
    """

    symbols: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    """Of the nuclei, in bohr."""
    charge: int
    spin: int
    """n_up - n_down."""
    name: str = dataclasses.field(compare=False)
    """The name in the library, or the formula."""
    energy: float | None = dataclasses.field(compare=False)
    """Exact energy or best estimate of the ground state, in hartree, where the library has it. None
    for pseudopotentials, with which total energies are others."""
    ecp: tuple[tuple[str, str], ...]
    """(element, name) of each pseudopotential."""

    def __init__(
        self,
        atoms: GivenAtoms,
        unit: str | None = None,
        charge: int | None = None,
        spin: int | None = None,
        ecp: GivenPseudopotentials = None,
    ):
        if isinstance(atoms, str) and atoms in LIBRARY:
            known = LIBRARY[atoms]
            if unit is not None:
                raise ValueError(f"unit: the library has {atoms} with its unit; leave it out.")
            charge = known.charge if charge is None else charge
            as_in_library = charge == known.charge and spin in (None, known.spin)
            spin = known.spin if spin is None and charge == known.charge else spin
            symbols, places = zip(*known.atoms, strict=True)
            name, energy = atoms, known.energy if as_in_library else None
        else:
            symbols, places, name = _read(atoms, unit)
            energy = None
        numbers = [_number(symbol) for symbol in symbols]
        elements = tuple(chemical_symbols[number] for number in numbers)
        charge = _whole("charge", charge or 0)
        spin = None if spin is None else _whole("spin", spin)
        chosen = names_by_element(ecp, elements)
        n_core = sum(c.n_core for c in _cores(elements, chosen) if c is not None)
        spin = _checked_spin(sum(numbers) - n_core - charge, spin, name, charge)
        check_distances(symbols, np.array(places, float))
        values = {
            "symbols": elements,
            "positions": tuple(tuple(float(x) for x in place) for place in places),
            "charge": charge,
            "spin": spin,
            "name": name,
            "energy": None if chosen else energy,
            "ecp": chosen,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def at(self, coordinates: Float[np.ndarray, "n_nuclei 3"]) -> "Molecule":
        """The same atoms and electrons with the nuclei at other positions, in bohr.

        Raises:
            ValueError: If their shape is another, or two are on top of each other.
        """
        try:
            places = np.asarray(coordinates, float)
        except (TypeError, ValueError):
            places = np.empty(0)
        if places.shape != (len(self.symbols), 3) or not np.all(np.isfinite(places)):
            raise ValueError(
                f"coordinates of {self.name} are {len(self.symbols)} times three finite numbers "
                f"in bohr, but {coordinates!r} was given."
            )
        check_apart(places, self.symbols)
        other = copy.copy(self)
        moved = tuple(tuple(float(x) for x in place) for place in places)  # pyright: ignore
        object.__setattr__(other, "positions", moved)
        if moved != self.positions:
            object.__setattr__(other, "energy", None)
        return other

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of the elements."""
        return tuple(atomic_numbers[symbol] for symbol in self.symbols)

    @property
    def cores(self) -> tuple[Pseudopotential | None, ...]:
        """The pseudopotential of each atom; None for those with all their electrons."""
        return _cores(self.symbols, self.ecp)

    @property
    def n_core(self) -> tuple[int, ...]:
        """Number of electrons of each atom that its pseudopotential replaces."""
        return tuple(0 if core is None else core.n_core for core in self.cores)

    @property
    def charges(self) -> tuple[int, ...]:
        """Charges that electrons see from afar: of the nuclei less the electrons of their cores."""
        return tuple(z - n for z, n in zip(self.numbers, self.n_core, strict=True))

    @property
    def cusp_charges(self) -> tuple[float, ...]:
        """Z of the pole -Z/r of the potential at each atom; 0 where a pseudopotential has none."""
        poles = [0.0 if core is None else core.pole for core in self.cores]
        return tuple(float(z) - pole for z, pole in zip(self.charges, poles, strict=True))

    @property
    def coordinates(self) -> Float[np.ndarray, "n_nuclei 3"]:
        """Positions of the nuclei in bohr, as an array."""
        return np.array(self.positions, float)

    @property
    def n_electrons(self) -> int:
        """Number of electrons of both spins: the sum of `charges` less `charge`."""
        return sum(self.charges) - self.charge

    @property
    def n_up(self) -> int:
        """Number of electrons with spin up; they come first in configurations."""
        return (self.n_electrons + self.spin) // 2

    @property
    def n_down(self) -> int:
        """Number of electrons with spin down."""
        return self.n_electrons - self.n_up

    @property
    def nuclear_repulsion(self) -> float:
        """Energy of the nuclei, or cores, among themselves, in hartree."""
        places, charges = self.coordinates, self.charges
        return float(
            sum(
                charges[i] * charges[j] / np.linalg.norm(places[i] - places[j])
                for i in range(len(charges))
                for j in range(i)
            )
        )


def check_molecule(given: object) -> Molecule:
    """What was given, if it is a molecule.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(given, Molecule):
        raise TypeError(
            "molecule must be a ritz.molecule.Molecule, such as Molecule('LiH'), but "
            f"{given!r} was given."
        )
    return given


def _cores(
    symbols: Sequence[str], ecp: tuple[tuple[str, str], ...]
) -> tuple[Pseudopotential | None, ...]:
    names = dict(ecp)
    return tuple(
        pseudopotential(symbol, names[symbol]) if symbol in names else None for symbol in symbols
    )


def _read(atoms: GivenAtoms, unit: str | None) -> tuple[Sequence[str], Sequence[Positions], str]:
    """Symbols, positions in bohr and a name, from what was given."""
    if isinstance(atoms, str) and is_atoms_text(atoms):
        atoms = from_text(atoms)
    elif isinstance(atoms, str | Path):
        atoms = _from_file(atoms)
    if isinstance(atoms, Atoms):
        if unit not in (None, "angstrom"):
            raise ValueError(
                f"unit: ASE and XYZ files have positions in angstrom, but {unit!r} was given; "
                "leave it out."
            )
        if any(atoms.pbc):
            raise ValueError(
                "a molecule is not periodic, but these atoms have pbc="
                f"{atoms.pbc.tolist()}; give atoms with pbc=False."
            )
        symbols = atoms.get_chemical_symbols()
        places = list(atoms.positions * UNITS["angstrom"])
        return symbols, places, atoms.get_chemical_formula()
    try:
        symbols, places = zip(*[(symbol, np.array(p, float)) for symbol, p in atoms], strict=True)
        wrong = any(place.shape != (3,) or not np.all(np.isfinite(place)) for place in places)
    except (TypeError, ValueError):
        wrong, symbols, places = True, (), ()
    if wrong:
        raise ValueError(
            "atoms takes a name such as 'LiH', an XYZ file, an ase.Atoms, or a list such as "
            f"[('H', (0, 0, 0)), ('H', (0, 0, 1.4))], but {atoms!r} was given."
        )
    if unit is None and len(places) > 1:
        raise ValueError("unit: are the positions in bohr or in angstrom? Give unit='bohr', say.")
    factor = UNITS[check_choice("unit", unit or "bohr", tuple(UNITS))]
    return symbols, [factor * place for place in places], "".join(map(str, symbols))


def _from_file(given: str | Path) -> Atoms:
    if not Path(given).is_file():
        if isinstance(given, str) and "." not in given and "/" not in given:
            known = {name.lower(): name for name in LIBRARY}
            near = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean {known[near[0]]}? It has" if near else "it has"
            raise ValueError(
                f"there is no molecule {given!r} in the library; {hint}: "
                f"{', '.join(LIBRARY)}. Other molecules are given as an XYZ file or a list."
            )
        raise FileNotFoundError(f"there is no file {given}.")
    from ase.io import read

    try:
        found = read(given, index=":")
    except Exception as error:
        raise ValueError(f"{given} cannot be read as a molecule: {error!r}") from error
    frames = found if isinstance(found, list) else [found]
    if len(frames) != 1:
        raise ValueError(
            f"{given} has {len(frames)} geometries, and a molecule is one of them; write that into "
            f"a file of its own, or give Molecule(ase.io.read({str(given)!r}, index=-1)) for the "
            "last."
        )
    return frames[0]


def _number(symbol: object) -> int:
    number = atomic_numbers.get(symbol) if isinstance(symbol, str) else None
    if not number:
        known = list(chemical_symbols[1:])
        near = difflib.get_close_matches(str(symbol).capitalize(), known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"{symbol!r} is the symbol of no element{hint}")
    return number


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be a whole number, but {value!r} was given.")
    return int(value)


def _checked_spin(n_electrons: int, given: int | None, name: str, charge: int) -> int:
    """The spin: the one given, or 0.

    Raises:
        ValueError: If there are no electrons, or they cannot have it.
    """
    if n_electrons < 1:
        raise ValueError(
            f"charge={charge} leaves no electrons; the largest charge of {name} is "
            f"{n_electrons + charge - 1}."
        )
    spin = 0 if given is None else given
    if (n_electrons - spin) % 2 or abs(spin) > n_electrons:
        begins = "spin is missing" if given is None else f"spin={spin} is impossible"
        have = "has" if n_electrons == 1 else "have"
        parity = "an odd" if n_electrons % 2 else "an even"
        known = LIBRARY.get(name)
        suits = given is None and known is not None and known.charge == charge
        library = f" The {name} of the library has spin={known.spin}." if known and suits else ""
        raise ValueError(
            f"{begins}: it is n_up - n_down, and the {counted(n_electrons, 'electron')} of {name} "
            f"{have} {parity} one from {-n_electrons} to {n_electrons}, such as "
            f"spin={n_electrons % 2}.{library}"
        )
    return spin
