"""Energies of atoms that total energies are counted from."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from ase.formula import Formula

from ritz.mlip.data.reading import Paths, iter_structures
from ritz.mlip.data.structure import Structure
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_NAMES = ("isolatedatom", "isolated_atom")
"""Values of `config_type` that mark them, in lower case."""

_TOLERANCE = 1e-5
"""Largest difference between energies of one species, in eV."""


def is_isolated(structure: Structure) -> bool:
    """Whether it is one atom that is marked as `config_type=IsolatedAtom`."""
    kind = structure.config_type
    return kind is not None and kind.lower() in _NAMES and len(structure) == 1


def without_isolated(
    structures: Iterable[Structure], atomic_energies: Mapping[str, float] | None
) -> tuple[list[Structure], dict[str, float]]:
    """The structures to train on, and the energies of atoms.

    Isolated atoms are not trained on: they are what energies are counted from.

    Args:
        structures: All structures.
        atomic_energies: By species, in eV. None takes those of the isolated atoms.

    Raises:
        ValueError: If isolated atoms are needed and have no energy, or disagree.
    """
    left, isolated = [], []
    for structure in structures:
        (isolated if is_isolated(structure) else left).append(structure)
    if atomic_energies is not None:
        if isolated:
            _logger.info(
                "%s skipped, since atomic_energies are given.",
                counted(len(isolated), "isolated atom", "is"),
            )
        return left, dict(atomic_energies)
    found = isolated_atom_energies(isolated)
    if found:
        told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in found.items())
        _logger.info("Energies of atoms from isolated ones, in eV: %s", told)
        if missing := sorted({s for each in left for s in each.species} - set(found)):
            _logger.warning(
                "There is no isolated atom of %s, whose energy is taken as 0; give "
                "atomic_energies for all species.",
                ", ".join(missing),
            )
    return left, found


def check_species(
    atomic_energies: Mapping[str, float],
    species: Iterable[str],
    known: Iterable[str] | None = None,
) -> None:
    """Refuse energies of atoms that lack a species of the data, or have one that is unknown.

    Args:
        atomic_energies: By species, in eV; none at all means that energies are counted from zero.
        species: The species of the structures; those that the potential does not have are left to
            the check of structures.
        known: The species of the potential; None where they are not known yet.

    Raises:
        ValueError: With the species that are there and those that are needed.
    """
    allowed = None if known is None else sorted(known)
    needed = sorted({s for s in species if allowed is None or s in allowed})
    given = sorted(atomic_energies)
    missing = [symbol for symbol in needed if symbol not in atomic_energies]
    if given and missing:
        raise ValueError(
            f"atomic_energies has {', '.join(given)}, but the structures have {', '.join(needed)}: "
            f"give an energy in eV for {' and '.join(missing)} too, or {{}} in place of all of "
            "them to count energies from zero."
        )
    others = [symbol for symbol in given if symbol not in (allowed or given)]
    if allowed is not None and others:
        raise ValueError(
            f"atomic_energies has {', '.join(given)}, but the potential has the species "
            f"{', '.join(allowed)}: leave {' and '.join(others)} out, or correct the symbol."
        )


def isolated_atom_energies(atoms: Sequence[Structure]) -> dict[str, float]:
    """The energy of each species, in eV, from isolated atoms.

    Raises:
        ValueError: If an atom has no energy, or two of one species disagree.
    """
    found: dict[str, Structure] = {}
    for number, atom in enumerate(atoms):
        symbol, name = atom.species[0], atom.name or f"{number}"
        if atom.energy is None:
            raise ValueError(f"the isolated atom {name} ({symbol}) has no energy.")
        known = found.setdefault(symbol, atom)
        if known.energy is None or abs(known.energy - atom.energy) > _TOLERANCE:
            raise ValueError(
                f"the isolated atoms {known.name} and {name} of {symbol} have the energies "
                f"{known.energy} and {atom.energy} eV; keep one, or give atomic_energies."
            )
    return {symbol: float(found[symbol].energy or 0.0) for symbol in sorted(found)}


Sample = tuple[Mapping[str, int], float]
"""A composition and a total energy in eV."""

SampleLike = Structure | tuple[str | Mapping[str, int], float]
"""A structure with an energy in eV, or a composition, such as `"TiO2"`, and an energy."""

LARGEST = 1e100
"""Energies beyond this, in eV, are none, and their squares overflow."""


class UndeterminedError(ValueError):
    """Energies of samples do not determine those of all atoms.

    Args:
        told: The message.
        rank: Number of independent compositions.
    """

    def __init__(self, told: str, rank: int):
        super().__init__(told)
        self.rank = rank


@dataclasses.dataclass(frozen=True)
class ReferenceEnergies:
    """Energies of atoms by species, for `TrainingConfig(atomic_energies=...)`.

    Attributes:
        atomic_energies: By species, in eV.
        rmse: The root mean square of what they leave of the energies they were found from, in eV
            per atom.
    """

    atomic_energies: dict[str, float]
    rmse: float = 0.0

    @classmethod
    def from_regression(
        cls, samples: Iterable["SampleLike"], species: Sequence[str] | None = None
    ) -> "ReferenceEnergies":
        """The energies of atoms that fit total energies best: least squares of energies per atom.

        Args:
            samples: Structures, or pairs of a composition (`{"Ti": 1, "O": 2}` or "TiO2") and a
                total energy in eV; taken one after another, and not kept.
            species: For which species; by default all that appear.

        Raises:
            UndeterminedError: If the energies do not determine those of all atoms.
            ValueError: If a sample has no energy, or another species.
        """
        normal: dict[tuple[str, str], float] = {}
        right: dict[str, float] = {}
        square, count = 0.0, 0
        known = set(species or ())
        for composition, energy in map(_sample, samples):
            others = set(composition) - known
            if species is not None and others:
                raise ValueError(f"{sorted(others)} are not among the species {list(species)}.")
            known |= others
            n_atoms = sum(composition.values())
            shares = {symbol: number / n_atoms for symbol, number in composition.items()}
            for a, share in shares.items():
                right[a] = right.get(a, 0.0) + share * energy / n_atoms
                for b, other in shares.items():
                    normal[a, b] = normal.get((a, b), 0.0) + share * other
            if not abs(energy) < LARGEST:
                raise ValueError(
                    f"{energy} eV is no energy that energies of atoms can be fitted to."
                )
            square += (energy / n_atoms) ** 2
            count += 1
        symbols = list(species) if species is not None else sorted(known)
        if not count:
            raise ValueError("there are no samples to fit energies of atoms to.")
        matrix = np.array([[normal.get((a, b), 0.0) for b in symbols] for a in symbols])
        vector = np.array([right.get(a, 0.0) for a in symbols])
        rank = np.linalg.matrix_rank(matrix, tol=1e-10 * max(np.abs(matrix).max(), 1))
        if rank < len(symbols):
            raise UndeterminedError(
                f"{counted(count, 'sample', 'does')} not determine the energies of {symbols}: the "
                "compositions are multiples of too few; give more, use from_reference_compounds, "
                "or give known ones as atomic_energies={...}.",
                int(rank),
            )
        found = np.linalg.solve(matrix, vector)
        left = square - 2 * found @ vector + found @ matrix @ found
        return cls(
            dict(zip(symbols, map(float, found), strict=True)), float(np.sqrt(max(left / count, 0)))
        )

    @classmethod
    def from_reference_compounds(
        cls, samples: Iterable["SampleLike"], compounds: Sequence[str | Mapping[str, int]]
    ) -> "ReferenceEnergies":
        """Energies of atoms for which the most stable samples of some compounds have energy zero.

        Args:
            samples: As for `from_regression`.
            compounds: As many compounds as there are species, such as `["Ti", "TiO2"]`; of each,
                the sample with the lowest energy per atom is taken.

        Raises:
            ValueError: If a compound has no sample, or they do not determine the energies.
        """
        reduced_compounds = [_reduced(_composition(compound)) for compound in compounds]
        symbols = sorted({symbol for composition in reduced_compounds for symbol in composition})
        best: dict[int, float] = {}
        for composition, energy in map(_sample, samples):
            reduced = _reduced(composition)
            for place, compound in enumerate(reduced_compounds):
                if reduced == compound:
                    each = energy / sum(composition.values())
                    best[place] = min(each, best.get(place, np.inf))
        missing = [compounds[place] for place in range(len(reduced_compounds)) if place not in best]
        if missing:
            raise ValueError(f"there is no sample of {missing}.")
        matrix = np.array([[c.get(s, 0) for s in symbols] for c in reduced_compounds], float)
        if matrix.shape[0] != matrix.shape[1] or abs(np.linalg.det(matrix)) < 1e-10:
            raise ValueError(
                f"{list(compounds)} do not determine the energies of {symbols}: give as many "
                "compounds as species, none a mixture of others."
            )
        each = np.array([best[place] for place in range(len(reduced_compounds))])
        energies = each * matrix.sum(axis=1)
        found = np.linalg.solve(matrix, energies)
        return cls(dict(zip(symbols, map(float, found), strict=True)))


def iter_samples(paths: Paths, energy_key: str | None = None) -> Iterator[Sample]:
    """Compositions and energies of the structures of files, one after another.

    Args:
        paths: As for `read_structures`.
        energy_key: As for `read_structures`.

    Raises:
        ValueError: If a structure has no energy.
    """
    for structure in iter_structures(paths, energy_key):
        yield _sample(structure)


def _sample(given: SampleLike) -> Sample:
    if isinstance(given, Structure):
        if given.energy is None:
            raise ValueError(f"structure {given.name or given.composition} has no energy.")
        return given.composition, given.energy
    composition, energy = given
    return _composition(composition), float(energy)


def _composition(given: str | Mapping[str, int]) -> dict[str, int]:
    return Formula(given).count() if isinstance(given, str) else dict(given)


def _reduced(composition: Mapping[str, int]) -> dict[str, int]:
    divisor = np.gcd.reduce(list(composition.values()))
    return {symbol: int(n // divisor) for symbol, n in composition.items() if n}
