"""Checks that a network or an estimator was made for the molecule that is treated."""

import numpy as np

from ritz.molecule.molecule import Molecule

_SAME_PLACE = 1e-5
"""Distance in bohr below which positions count as the same, also after single precision."""


def check_same(
    part: str, given: Molecule, molecule: Molecule, remedy: str, *, moves: bool, name: str = ""
) -> None:
    """Refuse what was made for another molecule than the one that is treated.

    Args:
        part: What the given molecule is, such as "the molecule of the network".
        given: The molecule for which that was made.
        molecule: The molecule that is treated.
        remedy: What to give instead.
        moves: Whether nuclei may be elsewhere.
        name: What the molecule is called; by default its name.

    Raises:
        ValueError: If elements, charge, spin, pseudopotentials or, unless `moves`, positions are
            others.
    """
    name = name or molecule.name
    for trait in ("symbols", "charge", "spin", "ecp"):
        theirs, wanted = getattr(given, trait), getattr(molecule, trait)
        if theirs != wanted:
            raise ValueError(f"{part} has {trait}={theirs!r}, but {name} has {wanted!r}; {remedy}.")
    apart = np.max(np.abs(given.coordinates - molecule.coordinates))
    if not moves and apart > _SAME_PLACE:
        raise ValueError(
            f"{part} has nuclei up to {apart:.3g} bohr away from those of {name}; {remedy}."
        )


def check_network(wavefunction: object, molecule: Molecule, *, moves: bool = False) -> None:
    """Refuse a network of another molecule; wave functions without a molecule pass.

    Args:
        wavefunction: The wave function.
        molecule: The molecule that is treated.
        moves: Whether nuclei may be elsewhere.

    Raises:
        ValueError: See `check_same`.
    """
    of_network = getattr(wavefunction, "molecule", None)
    if isinstance(of_network, Molecule):
        remedy = "give network.clone(molecule=molecule), or make one for this molecule"
        check_same("the molecule of the network", of_network, molecule, remedy, moves=moves)
