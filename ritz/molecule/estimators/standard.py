"""The estimators of the energy that drivers of molecules have."""

from collections.abc import Mapping
from typing import Any

from ritz.molecule.estimators.energy import TotalEnergy
from ritz.molecule.estimators.kinetic import Kinetic
from ritz.molecule.estimators.potential import Potential
from ritz.molecule.estimators.pseudopotential import PseudopotentialEnergy
from ritz.molecule.molecule import Molecule

ENERGY = "energy"
"""Name of the total energy in rows."""


def energy_estimators(molecule: Molecule, chunk_size: int | None = None) -> dict[str, Any]:
    """The estimators of kinetic, potential and total energy, by the names that they have in rows.

    With pseudopotentials there is one of their energy too, `pseudopotential`.

    Args:
        molecule: The molecule.
        chunk_size: Number of walkers of which the Laplacian, and the energy of pseudopotentials,
            are computed at once.
    """
    parts: dict[str, Any] = {
        "kinetic": Kinetic(chunk_size=chunk_size),
        "potential": Potential(molecule),
    }
    if molecule.ecp:
        parts["pseudopotential"] = PseudopotentialEnergy(molecule, chunk_size=chunk_size)
    return {ENERGY: TotalEnergy(tuple(parts)), **parts}


def check_total(molecule: Molecule, estimators: Mapping[str, object]) -> None:
    """Refuse total energies of a molecule with pseudopotentials that lack their energy.

    Raises:
        ValueError: If a `TotalEnergy` has the potential energy without that of pseudopotentials.
    """
    if not molecule.ecp:
        return
    parts = energy_estimators(molecule)[ENERGY].uses
    for name, one in estimators.items():
        if isinstance(one, TotalEnergy) and "potential" in one.uses:
            missing = [part for part in parts if part not in one.uses]
            if missing:
                raise ValueError(
                    f"{name}={one!r} leaves out {' and '.join(missing)}, and {molecule.name} has "
                    f"pseudopotentials; give TotalEnergy({parts!r})."
                )
