"""A small library of molecules with the energies of their ground states."""

import math
from typing import NamedTuple


class Known(NamedTuple):
    """A molecule of the library."""

    atoms: tuple[tuple[str, tuple[float, float, float]], ...]
    """Symbols and positions in bohr."""
    spin: int = 0
    """n_up - n_down."""
    charge: int = 0
    energy: float | None = None
    """Non-relativistic ground state with fixed nuclei, in hartree: exact or the best estimate."""


def _atom(symbol: str, spin: int, energy: float) -> Known:
    return Known(((symbol, (0.0, 0.0, 0.0)),), spin, 0, energy)


def _diatomic(first: str, second: str, distance: float, energy: float, charge: int = 0) -> Known:
    half = distance / 2
    spin = 1 if charge and (first, second) == ("H", "H") else 0
    return Known(((first, (0.0, 0.0, -half)), (second, (0.0, 0.0, half))), spin, charge, energy)


def _triangle(side: float, energy: float) -> Known:
    radius = side / math.sqrt(3)
    angles = [math.pi / 2 + k * 2 * math.pi / 3 for k in range(3)]
    places = [(radius * math.cos(a), radius * math.sin(a), 0.0) for a in angles]
    return Known(tuple(("H", place) for place in places), 0, 1, energy)


def _methane(bond: float, energy: float) -> Known:
    a = bond / math.sqrt(3)
    corners = [(a, a, a), (a, -a, -a), (-a, a, -a), (-a, -a, a)]
    return Known((("C", (0.0, 0.0, 0.0)), *(("H", c) for c in corners)), 0, 0, energy)


LIBRARY = {
    "H": _atom("H", 1, -0.5),
    "He": _atom("He", 0, -2.903724377034),
    "Li": _atom("Li", 1, -7.47806032),
    "Be": _atom("Be", 0, -14.66736),
    "B": _atom("B", 1, -24.65391),
    "C": _atom("C", 2, -37.8450),
    "N": _atom("N", 3, -54.5892),
    "O": _atom("O", 2, -75.0673),
    "F": _atom("F", 1, -99.7339),
    "Ne": _atom("Ne", 0, -128.9376),
    "H2": _diatomic("H", "H", 1.4, -1.174475714),
    "H2+": _diatomic("H", "H", 2.0, -0.602634214, charge=1),
    "H3+": _triangle(1.65, -1.343835625),
    "LiH": _diatomic("Li", "H", 3.015, -8.070548),
    "Li2": _diatomic("Li", "Li", 5.051, -14.9954),
    "N2": _diatomic("N", "N", 2.068, -109.5423),
    "CH4": _methane(2.0635, -40.515),
}
"""By name. Atoms: Chakravorty et al., Phys. Rev. A 47, 3649 (1993). H2: Kolos and Wolniewicz; H2+:
Wind, J. Chem. Phys. 42, 2371 (1965); H3+: Turbiner and Lopez Vieyra, and Pavanello and Adamowicz,
J. Chem. Phys. 130, 034104 (2009). LiH, Li2, N2, CH4: the estimates in Pfau et al., Phys. Rev.
Research 2, 033429 (2020)."""
