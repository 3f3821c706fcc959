"""Energies of atoms from the isolated ones in a data set."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from ritz.mlip.structure import Structure
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_NAMES = ("isolatedatom", "isolated_atom")
"""What `config_type` says of them, whatever the case."""

_TOLERANCE = 1e-5
"""How far energies of one atom may be apart, in eV."""


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
        structures: All of them.
        atomic_energies: By species, in eV. None takes those of the isolated atoms.

    Raises:
        ValueError: If isolated atoms are needed and have no energy, or disagree.
    """
    left, alone = [], []
    for structure in structures:
        (alone if is_isolated(structure) else left).append(structure)
    if atomic_energies is not None:
        if alone:
            _logger.info(
                "%s skipped, since atomic_energies are given.",
                counted(len(alone), "isolated atom", "is"),
            )
        return left, dict(atomic_energies)
    found = energies_of(alone)
    if found:
        told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in found.items())
        _logger.info("Energies of atoms from isolated ones, in eV: %s", told)
        if missing := sorted({s for each in left for s in each.species} - set(found)):
            _logger.warning(
                "There is no isolated atom of %s, whose energy is taken as 0; give "
                "atomic_energies for all species.", ", ".join(missing),
            )  # fmt: skip
    return left, found


def energies_of(atoms: Sequence[Structure]) -> dict[str, float]:
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
