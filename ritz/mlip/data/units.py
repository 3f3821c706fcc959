"""Numbers as programs write them, and units by name, as factors to eV and Angstrom."""

import re

import numpy as np
from ase import units

_FORTRAN = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:[dDqQ]([+-]?\d+)|([+-]\d{3}))$")
"""With D in place of E, or without either where the exponent has three digits."""


def to_float(word: str) -> float:
    """A number in the notation of Python, or of Fortran such as "-7.5D+00".

    Raises:
        ValueError: If it is none.
    """
    found = _FORTRAN.match(word.strip())
    return float(f"{found[1]}e{found[2] or found[3]}" if found else word)


def to_floats(value: object) -> np.ndarray | None:
    """An array of floats, from numbers or text with numbers; None if it is something else.

    Args:
        value: A number, an array, or a string such as "1.0D0 2.0D0".
    """
    if isinstance(value, str):
        try:
            numbers = [to_float(word) for word in value.replace(",", " ").split()]
        except ValueError:
            return None
        if not numbers:
            return None
        return np.array(numbers[0] if len(numbers) == 1 else numbers)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "US":
            return np.array([to_float(str(word)) for word in array.ravel()]).reshape(array.shape)
        if array.dtype.kind == "O" and all(
            isinstance(word, int | float | np.number) and not isinstance(word, bool)
            for word in array.ravel()
        ):
            array = array.astype(float)
    except (TypeError, ValueError):
        return None
    return array.astype(float) if array.dtype.kind in "fiu" else None


_SCALES: dict[str, tuple[float, int, int]] = {
    "eV": (1.0, 1, 0), "meV": (1e-3, 1, 0), "keV": (1e3, 1, 0),
    "Ha": (units.Hartree, 1, 0), "Hartree": (units.Hartree, 1, 0),
    "mHa": (1e-3 * units.Hartree, 1, 0),
    "Ry": (units.Rydberg, 1, 0), "Rydberg": (units.Rydberg, 1, 0),
    "mRy": (1e-3 * units.Rydberg, 1, 0), "J": (units.J, 1, 0), "kJ": (units.kJ, 1, 0),
    "cal": (units.kcal / 1000, 1, 0), "kcal": (units.kcal, 1, 0), "mol": (units.mol, 0, 0),
    "Angstrom": (1.0, 0, 1), "Ang": (1.0, 0, 1), "A": (1.0, 0, 1), "Å": (1.0, 0, 1),
    "bohr": (units.Bohr, 0, 1), "a0": (units.Bohr, 0, 1), "nm": (units.nm, 0, 1),
    "pm": (0.01, 0, 1), "m": (units.m, 0, 1),
    "Pa": (units.Pascal, 1, -3), "kPa": (1e3 * units.Pascal, 1, -3),
    "MPa": (1e6 * units.Pascal, 1, -3), "GPa": (units.GPa, 1, -3), "bar": (units.bar, 1, -3),
    "kbar": (1e3 * units.bar, 1, -3), "kB": (1e3 * units.bar, 1, -3),
    "Mbar": (1e6 * units.bar, 1, -3), "atm": (101325 * units.Pascal, 1, -3),
}  # fmt: skip
"""Factors, and the powers of energy and length."""

_LOWER = {name.lower(): name for name in _SCALES if name not in ("mPa", "MPa", "Mbar", "m", "A")}

_KINDS = {
    "energy": ((1, 0), "eV, meV, Ha, Ry, kcal/mol, kJ/mol"),
    "length": ((0, 1), "Angstrom, bohr, nm"),
    "forces": ((1, -1), "eV/Angstrom, Ha/bohr, Ry/bohr, kcal/mol/Angstrom"),
    "stress": ((1, -3), "eV/Angstrom^3, GPa, kbar, Ha/bohr^3"),
}

_PART = re.compile(r"\s*([*/ ]?)\s*([^\W\d]\w*|Å)\s*(?:(?:\^|\*\*)\s*([+-]?\d+))?\s*")


def unit_factor(kind: str, name: str, setting: str = "") -> float:
    """By what numbers in a unit are multiplied to be in eV and Angstrom.

    Args:
        kind: "energy", "length", "forces" or "stress".
        name: A unit, or a product of some, such as "kcal/mol/Angstrom" or "eV/A^3".
        setting: What the message calls it; by default `KIND_unit`.

    Raises:
        ValueError: If it is no unit of that kind; examples are given.
    """
    powers, examples = _KINDS[kind]
    found = _parse(name) if isinstance(name, str) else None
    if found is None or found[1:] != powers:
        raise ValueError(
            f"{setting or f'{kind}_unit'}={name!r} is no unit of {kind}; there are, for example, "
            f"{examples}."
        )
    return found[0]


def _parse(text: str) -> tuple[float, int, int] | None:
    text = re.sub(r"/\s*\(([^()/]*)\)", lambda m: "/" + re.sub(r"[* ]+", "/", m[1].strip()), text)
    text = text.strip()
    factor, energy, length, place = 1.0, 0, 0, 0
    while place < len(text):
        part = _PART.match(text, place)
        name = None if part is None else _known(part[2])
        if part is None or name is None or (place and not part[1] and text[place - 1] != " "):
            return None
        power = int(part[3] or 1) * (-1 if part[1] == "/" else 1)
        scale = _SCALES[name]
        factor *= scale[0] ** power
        energy, length = energy + scale[1] * power, length + scale[2] * power
        place = part.end()
    return (factor, energy, length) if place else None


def _known(word: str) -> str | None:
    if word in _SCALES:
        return word
    # "MeV" is not meV, and "Mev" is neither.
    return None if word.startswith("M") else _LOWER.get(word.lower())
