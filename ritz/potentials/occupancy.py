"""Refuses structures with partially occupied sites."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

TOLERANCE = 1e-3
"""Occupancies this close to 1 are full; files have them with three or four digits."""


def check_occupancy(atoms: "Atoms", where: str = "") -> None:
    """Refuse a structure in which sites are shared by several species, or empty in part.

    ASE keeps one atom for such a site and tells the occupancies apart from it: by kind of site in
    `atoms.info["occupancy"]` (CIF), or by atom in `atoms.arrays["occupancy"]` (PDB).

    Args:
        atoms: An `ase.Atoms`.
        where: The file, and the frame, as the message begins.

    Raises:
        ValueError: If a site is not occupied by one atom; the site is named.
    """
    found = _shared_site(atoms.info.get("occupancy")) or _partial_atom(atoms)
    if found is not None:
        raise ValueError(
            f"{f'{where}: ' if where else ''}{found}; energies are those of structures whose atoms "
            "are all there. Write ordered structures, with one atom at each occupied site."
        )


def _shared_site(sites: object) -> str | None:
    if not isinstance(sites, Mapping):
        return None
    for shares in sites.values():
        if not isinstance(shares, Mapping):
            continue
        if len(shares) > 1 or any(float(share) < 1 - TOLERANCE for share in shares.values()):
            told = " and ".join(f"{float(n):g} {symbol}" for symbol, n in sorted(shares.items()))
            return f"a site is occupied by {told}"
    return None


def _partial_atom(atoms: "Atoms") -> str | None:
    shares = atoms.arrays.get("occupancy")
    if shares is None:
        return None
    shares = np.asarray(shares, float)
    if shares.shape != (len(atoms),) or not np.any(shares):  # zeros mean that the file has none
        return None
    partial = np.flatnonzero(shares < 1 - TOLERANCE)
    if not len(partial):
        return None
    first = int(partial[0])
    return f"atom {first} ({atoms.symbols[first]}) has the occupancy {shares[first]:g}"
