"""Small structures as text, good or with random flaws, and the energy that they have."""

import random
from typing import Any, NamedTuple

import numpy as np


class Wild(NamedTuple):
    """A frame of an extended XYZ file."""

    text: str
    energy: float | None
    """The energy that must be read; None if it is not known."""
    flaws: tuple[str, ...]


FLAWS = (
    "one place",
    "close",
    "an image at one place",
    "positions nan",
    "positions inf",
    "positions huge",
    "energy nan",
    "energy text",
    "energy missing",
    "energy fortran",
    "energy huge",
    "energy list",
    "zero cell",
    "flat cell",
    "huge cell",
    "tiny cell",
    "left-handed cell",
    "cell nan",
    "cell short",
    "unknown element",
    "no element",
    "ghost",
    "other element",
    "no atoms",
    "too few lines",
    "wrong count",
    "negative count",
    "count text",
    "stress text",
    "stress six",
    "stress nine",
    "stress five",
    "virial",
    "stress nan",
    "forces nan",
    "forces text",
    "forces missing",
    "zero weight",
    "negative weight",
    "weight text",
    "unconverged",
    "isolated",
    "pbc text",
    "columns wrong",
    "binary",
    "blank lines",
    "partial periodicity",
    "single atom",
    "occupancy",
    "fortran positions",
    "far outside",
)

_SAYS_ENERGY = {"energy nan", "energy text", "energy missing", "energy huge", "energy list"}
_COUNTS = {"wrong count": "5", "negative count": "-3", "count text": "many", "no atoms": "0"}
_CELLS = {
    "zero cell": "0 0 0 0 0 0 0 0 0",
    "flat cell": "5 0 0 5 0 0 0 0 5",
    "huge cell": "1e9 0 0 0 1e9 0 0 0 1e9",
    "tiny cell": "0.3 0 0 0 0.3 0 0 0 0.3",
    "left-handed cell": "0 5 0 5 0 0 0 0 5",
    "cell nan": "nan 0 0 0 5 0 0 0 5",
    "cell short": "5 0 0 0 5 0 0 0",
}
_INFO = {
    "stress text": 'stress="a b c"',
    "stress six": 'stress="0.1 0.1 0.1 0 0 0"',
    "stress nine": 'stress="0.1 0 0 0 0.1 0 0 0 0.1"',
    "stress five": 'stress="1 2 3 4 5"',
    "virial": 'virial="1 0 0 0 1 0 0 0 1"',
    "stress nan": 'stress="nan 0 0 0 0 0 0 0 0"',
    "zero weight": "weight=0",
    "negative weight": "weight=-1",
    "weight text": "weight=much",
    "unconverged": "converged=F",
    "isolated": "config_type=IsolatedAtom",
    "occupancy": 'occupancy="_JSON {\\"0\\": {\\"Ar\\": 0.5, \\"Kr\\": 0.5}}"',
}
_ENERGIES = {
    "energy nan": "energy=nan",
    "energy text": "energy=low",
    "energy missing": "",
    "energy huge": "energy=1e300",
    "energy list": 'energy="1 2 3"',
}
_PLACES = {
    "one place": (1, "0 0 0"),
    "close": (1, "0.05 0 0"),
    "an image at one place": (1, "5 5 0"),
    "positions nan": (1, "nan 0 0"),
    "positions inf": (1, "inf 0 0"),
    "positions huge": (1, "1e200 0 0"),
    "fortran positions": (1, "2.2D+00 0 0"),
    "far outside": (1, "2002.2 1000 -500"),
}
_PERIODICITY = {
    "partial periodicity": ["T T F", "F F T", "F F F"],
    "pbc text": ["yes", "T", "1 2 3", ""],
}
_SYMBOLS = {"unknown element": "Qq", "no element": "7", "ghost": "X", "other element": "He"}


def wild(chance: random.Random, good: bool = False) -> Wild:
    """A frame of three argon atoms; one or two flaws if it is not good."""
    flaws = () if good else tuple(sorted(set(chance.choices(FLAWS, k=chance.choice([1, 1, 2])))))
    places, symbols = _atoms(flaws, chance)
    energy = round(-3 * chance.random(), 6)
    said = f"energy={energy}"
    if "energy fortran" in flaws:
        said = f"energy={energy * 10:.5f}D-01"
        energy = float(f"{energy * 10:.5f}e-01")
    cell, count, pbc = "5 0 0 0 5 0 0 0 5", "3", "T T T"
    for flaw in flaws:
        cell, count = _CELLS.get(flaw, cell), _COUNTS.get(flaw, count)
        said = _ENERGIES.get(flaw, said)
    info = " ".join([said, *(_INFO[flaw] for flaw in flaws if flaw in _INFO)])
    for flaw, kinds in _PERIODICITY.items():
        pbc = chance.choice(kinds) if flaw in flaws else pbc
    columns, rows = _rows(flaws, places, symbols, chance)
    if "single atom" in flaws:
        rows, count = rows[:1], "1"
    text = f'{count}\nLattice="{cell}" Properties={columns} {info} pbc="{pbc}"\n'
    text = _torn(text + "\n".join(rows) + "\n", flaws)
    known = not set(flaws) & (_SAYS_ENERGY | {"binary"})
    return Wild(text, energy if known else None, flaws)


def _atoms(flaws: tuple[str, ...], chance: random.Random) -> tuple[list[str], list[str]]:
    """Positions, and symbols."""
    x = 2.0 + 0.4 * chance.random()
    places = ["0 0 0", f"{x} 0 0", f"0 {2.1 + 0.4 * chance.random()} 0.3"]
    symbols = ["Ar"] * 3
    for flaw in flaws:
        if flaw in _PLACES:
            which, place = _PLACES[flaw]
            places[which] = place
        symbols[2] = _SYMBOLS.get(flaw, symbols[2])
    return places, symbols


def _torn(text: str, flaws: tuple[str, ...]) -> str:
    """The text, where it is to be damaged as a whole."""
    if "too few lines" in flaws:
        text = text[: text.rstrip().rindex("\n") + 1]
    if "blank lines" in flaws:
        text = text.replace("\n", "\n\n", 1)
    if "binary" in flaws:
        text = text[: len(text) // 2] + "\x00\x01" + text[len(text) // 2 :]
    return text


def _rows(
    flaws: tuple[str, ...], places: list[str], symbols: list[str], chance: random.Random
) -> tuple[str, list[str]]:
    """The line that names the columns, and the lines of the atoms."""
    columns = "species:S:1:pos:R:3"
    rows = [f"{symbol} {place}" for symbol, place in zip(symbols, places, strict=True)]
    if "forces missing" not in flaws:
        columns += ":forces:R:3"
        forces = [[round(chance.gauss(0, 0.1), 4) for _ in range(3)] for _ in rows]
        texts = [" ".join(map(str, force)) for force in forces]
        if "forces nan" in flaws:
            texts[0] = "nan 0 0"
        if "forces text" in flaws:
            texts[0] = "a b c"
        rows = [f"{row} {text}" for row, text in zip(rows, texts, strict=True)]
    if "columns wrong" in flaws:
        columns = chance.choice(["species:S:1", "pos:R:3", "species:S:1:pos:R:2", "pos", "x:Q:9"])
    return columns, rows


def direct_energy(atoms: Any, epsilon: float, sigma: float, cutoff: float) -> float:
    """The Lennard-Jones energy, shifted to 0 at the cutoff, as a plain sum over all images."""
    cell, pbc = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    reach = [int(np.ceil(cutoff / _height(cell, i))) + 1 if pbc[i] else 0 for i in range(3)]
    positions = atoms.get_positions(wrap=True) if pbc.any() else atoms.positions
    steps = np.array(
        [
            [a, b, c]
            for a in range(-reach[0], reach[0] + 1)
            for b in range(-reach[1], reach[1] + 1)
            for c in range(-reach[2], reach[2] + 1)
        ]
    )
    offsets = steps @ cell
    difference = positions[:, None, None] - positions[None, :, None] + offsets
    distance = np.linalg.norm(difference, axis=-1).ravel()
    distance = distance[(distance > 1e-12) & (distance < cutoff)]

    def pair(r: Any) -> Any:
        return 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)

    return float(0.5 * np.sum(pair(distance) - pair(cutoff)))


def _height(cell: np.ndarray, i: int) -> float:
    """The distance of the faces that the other two lattice vectors span."""
    normal = np.cross(cell[i - 2], cell[i - 1])
    return abs(float(cell[i] @ normal)) / max(float(np.linalg.norm(normal)), 1e-300)
