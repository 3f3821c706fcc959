"""Atoms as a text of symbols and coordinates, such as "H 0 0 0; H 0 0 1.4", as PySCF takes them."""

import re

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_GAP = r"(?:\s*,\s*|\s+)"
_ATOM = re.compile(rf"\s*([A-Za-z]+){_GAP}({_NUMBER}){_GAP}({_NUMBER}){_GAP}({_NUMBER})\s*")


def is_atoms_text(given: str) -> bool:
    """Whether a text begins with an atom: a symbol and three coordinates."""
    return _ATOM.fullmatch(_entries(given)[0]) is not None


def from_text(given: str) -> list[tuple[str, tuple[float, float, float]]]:
    """Symbol and position of each atom; atoms stand apart by semicolons or line ends.

    Raises:
        ValueError: If an entry is no symbol with three coordinates.
    """
    atoms = []
    for entry in _entries(given):
        found = _ATOM.fullmatch(entry)
        if found is None:
            raise ValueError(
                f"atoms: {entry.strip()!r} was given, but a symbol and three coordinates are "
                "needed, as in 'H 0 0 0; H 0 0 1.4' or [[H, [0, 0, 0]], [H, [0, 0, 1.4]]]."
            )
        atoms.append((found[1], (float(found[2]), float(found[3]), float(found[4]))))
    return atoms


def _entries(given: str) -> list[str]:
    """The atoms of a text, without empty ones; one empty one if there are none."""
    return [entry for entry in re.split(r"[;\n]", given) if entry.strip()] or [""]
