"""aenet's form of XCrySDen's structure files."""

import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from ritz.folders.files import atomic_write
from ritz.mlip.data.structure import Structure
from ritz.mlip.data.units import to_float

_ENERGY = re.compile(r"total\s+energy\s*=\s*(\S+)", re.IGNORECASE)


def read_xsf(path: str | PathLike[str]) -> Structure:
    """Read a structure with energy and forces from an XSF file.

    The energy, in eV, is in a comment such as `# total energy = -19960.66 eV`; the forces, in
    eV/Angstrom, are three more columns after the positions.

    Raises:
        ValueError: If the file cannot be understood; the line is named.
    """
    path = Path(path)
    lines = path.read_text().splitlines()
    energy = None
    for line in lines:
        found = _ENERGY.search(line) if line.lstrip().startswith("#") else None
        if found:
            energy = _number(found[1], path, line)
            break
    words = iter([line.split() for line in lines if line.strip() and line.lstrip()[0] != "#"])
    cell, rows = None, None
    for line in words:
        keyword = line[0].upper()
        if keyword == "PRIMVEC":
            cell = np.array([_numbers(_next(words, path), path) for _ in range(3)])
        elif keyword == "PRIMCOORD":
            count = int(_number(_next(words, path)[0], path, "PRIMCOORD"))
            rows = [_next(words, path) for _ in range(count)]
        elif keyword == "ATOMS":
            rows = list(words)
    if not rows:
        raise ValueError(f"{path} has no atoms: neither PRIMCOORD nor ATOMS is there.")
    species = [_symbol(row[0], path) for row in rows]
    columns = [_numbers(row[1:], path) for row in rows]
    widths = {len(row) for row in columns}
    if widths not in ({3}, {6}):
        raise ValueError(
            f"{path}: every atom must have 3 numbers (its position) or 6 (its force besides), but "
            f"there are rows with {sorted(widths)}."
        )
    table = np.array(columns)
    return Structure(
        table[:, :3],
        species,
        energy,
        table[:, 3:] if widths == {6} else None,
        cell,
        name=path.name,
    )


def write_xsf(path: str | PathLike[str], structure: Structure) -> None:
    """Write a structure as `read_xsf` reads it."""
    lines = []
    if structure.energy is not None:
        lines.append(f"# total energy = {structure.energy:.17g} eV\n")
    columns = np.asarray(structure.positions)
    if structure.forces is not None:
        columns = np.hstack([columns, structure.forces])
    if structure.is_periodic:
        lines += ["CRYSTAL", "PRIMVEC", *map(_line, structure.box), "PRIMCOORD"]
        lines.append(f"{len(structure)} 1")
    else:
        lines.append("ATOMS")
    lines += [
        f"{symbol:2s} {_line(row)}" for symbol, row in zip(structure.species, columns, strict=True)
    ]
    atomic_write(Path(path), ("\n".join(lines) + "\n").encode())


def _line(row: Iterable[float]) -> str:
    return " ".join(f"{number:.17g}" for number in row)


def _next(words: Iterator[list[str]], path: Path) -> list[str]:
    try:
        return next(words)
    except StopIteration:
        raise ValueError(f"{path} ends in the middle of a list.") from None


def _numbers(words: list[str], path: Path) -> list[float]:
    return [_number(word, path, " ".join(words)) for word in words]


def _number(word: str, path: Path, line: str) -> float:
    try:
        return to_float(word)
    except ValueError:
        raise ValueError(f"{path}: {word!r} is no number, in the line {line!r}.") from None


def _symbol(word: str, path: Path) -> str:
    if not word.isdigit():
        return word.capitalize()
    if not 0 < int(word) < len(chemical_symbols):
        raise ValueError(f"{path}: there is no element number {word}.")
    return chemical_symbols[int(word)]
