"""Refuses sites that are partly occupied."""

from collections.abc import Mapping
from typing import Any

_WHOLE = 1e-3
"""By how much an occupancy may be off 1."""


def check_occupancy(atoms: Any, where: str) -> None:
    """Refuse a structure in which atoms share a site, or a site is partly empty.

    ASE reads such files as if the species that is there most often were there alone, and keeps the
    occupancies in `atoms.info["occupancy"]`.

    Args:
        atoms: An `ase.Atoms`.
        where: What messages call it, such as "alloy.cif, frame 0".

    Raises:
        ValueError: With the first such site.
    """
    sites = atoms.info.get("occupancy")
    if not isinstance(sites, Mapping):
        return
    for site, shares in sites.items():
        if not isinstance(shares, Mapping):
            continue
        if len(shares) > 1 or any(abs(float(share) - 1) > _WHOLE for share in shares.values()):
            told = ", ".join(f"{symbol} {float(share):g}" for symbol, share in shares.items())
            raise ValueError(
                f"{where} has partly occupied sites (site {site}: {told}), of which no energy can "
                "be computed; give an ordered structure, such as a supercell whose sites are "
                "filled by drawing, or remove atoms.info['occupancy']."
            )
