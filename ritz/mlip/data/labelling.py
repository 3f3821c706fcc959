"""Under which names, and in which units, files have labels, and which of them are missing."""

import dataclasses
from collections.abc import Iterable

from ritz.driver.signatures import suggests_fields
from ritz.mlip.data.structure import Structure
from ritz.mlip.data.units import unit_factor
from ritz.types import Settings
from ritz.wording import counted

LABELS = ("energy", "forces", "stress", "virial")
"""Labels that a structure may have."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Labelling:
    """Keys and units of the labels in files; every field is checked when it is made.

    Args:
        energy_key: Where the total energy is. None takes "energy", if it is there.
        forces_key: Where the forces are. None takes "forces", if they are there.
        stress_key: Where the stress is, with ASE's sign: positive where the structure pulls
            inwards. 6 numbers are xx, yy, zz, yz, xz, xy, and 9 the whole matrix. None takes
            "stress", if it is there.
        virial_key: Where the virial is, which is -stress times the volume, an energy. None takes
            "virial", if it is there and there is no stress.
        energy_unit: Of energies and virials: "eV", "meV", "Ha", "Ry", "kcal/mol", "kJ/mol" ...
        length_unit: Of positions and lattice vectors: "Angstrom", "bohr", "nm" ...
        forces_unit: Such as "Ha/bohr"; None for `energy_unit` over `length_unit`.
        stress_unit: Such as "GPa", "kbar" or "eV/A^3"; None for `energy_unit` over
            `length_unit`^3.
        bare: Whether labels are left out, whatever they are.

    Raises:
        ValueError: If a unit is not known, or none of that quantity.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    energy_unit: str = "eV"
    length_unit: str = "Angstrom"
    forces_unit: str | None = None
    stress_unit: str | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        for label in LABELS:
            key = self.key(label)
            if key is not None and not isinstance(key, str):
                raise TypeError(f"{label}_key must be a name, but {key!r} was given.")
        self.scales  # noqa: B018 - checks the units

    def key(self, label: str) -> str | None:
        """The key of a label, if it was given."""
        found: str | None = getattr(self, f"{label}_key")
        return found

    @property
    def length(self) -> float:
        """By what positions are multiplied."""
        return unit_factor("length", self.length_unit)

    @property
    def scales(self) -> dict[str, float]:
        """By what labels are multiplied to be in eV and Angstrom."""
        energy, length = unit_factor("energy", self.energy_unit), self.length
        forces, stress = energy / length, energy / length**3
        if self.forces_unit is not None:
            forces = unit_factor("forces", self.forces_unit)
        if self.stress_unit is not None:
            stress = unit_factor("stress", self.stress_unit)
        return {"energy": energy, "forces": forces, "stress": stress, "virial": energy}

    def record(self, given: Settings) -> Settings:
        """A record with its labels under the usual names.

        Raises:
            ValueError: If a key that was given is not there; those that are there are listed.
        """
        found = dict(given)
        if self.bare:
            return {name: value for name, value in found.items() if name not in LABELS}
        for label in LABELS:
            key = self.key(label)
            if key is None or key == label:
                continue
            if key not in found:
                raise ValueError(
                    f"there is nothing under {key!r}; there is: {', '.join(sorted(given))}."
                )
            found[label] = found.pop(key)
        return found


LABEL_SETTINGS = tuple(
    field.name for field in dataclasses.fields(Labelling) if field.name != "bare"
)
"""The fields of `Labelling` that say how files name labels, and in which units."""


def listed_keys(keys: Iterable[str]) -> str:
    """The keys under which there are numbers, for messages."""
    keys = sorted(keys)
    if not keys:
        return "no numbers under any key"
    return "numbers under the keys " + ", ".join(keys)


class LabelCheck:
    """Refuses structures that have nothing to train on.

    Args:
        forces: Whether forces are asked for; some must have them.
        stress: Whether stresses are asked for; some must have them.
        key: How one says under which key a label is, for messages.
        prefix: What the names of weights begin with there.
    """

    def __init__(
        self,
        forces: bool,
        stress: bool,
        key: str = "read_structures(..., {label}_key=...)",
        prefix: str = "",
    ):
        self._key, self._prefix = key, prefix
        self._found = {"forces": not forces, "stress": not stress}
        self._count = 0
        self._weighs = False
        self._first: Structure | None = None

    def add(self, structure: Structure) -> None:
        """Look at the next structure.

        Raises:
            ValueError: If it has no energy.
        """
        if structure.energy is None:
            raise ValueError(no_energy(structure, self._count, self._key))
        self._first = structure if self._first is None else self._first
        self._count += 1
        self._weighs |= structure.weight > 0
        for label in self._found:
            self._found[label] |= getattr(structure, label) is not None

    def finish(self) -> None:
        """Refuse what none of the structures had.

        Raises:
            ValueError: If none has forces or stress that are asked for, or a weight above zero.
        """
        if self._first is not None and not self._weighs:
            raise ValueError(
                f"of {counted(self._count, 'structure')} none has a weight above 0, so that none "
                f"counts; the first is {self._first.name or 0}. Give some such a weight, or take "
                "'weight' out of the files."
            )
        for label, has in self._found.items():
            if not has:
                weight = {"forces": "force_weight", "stress": "stress_weight"}[label]
                weight = f"{self._prefix}{weight}"
                raise ValueError(
                    f"no structure has {label}, but {weight} is above 0; set {weight}=0, or say "
                    f"under which key they are: {self._key.format(label=label)}"
                    f"{_of_first(self._first)}."
                )


def no_energy(
    structure: Structure, place: int, key: str = "read_structures(..., {label}_key=...)"
) -> str:
    """Error message for a structure without energy; it lists the keys in its file."""
    how = key.format(label="energy")
    has = f" Its file has {listed_keys(structure.keys)}." if structure.keys else ""
    return (
        f"structure {structure.name or place} has no energy; say under which key its file has it: "
        f"{how}, or give Structure(energy=...).{has}"
    )


def _of_first(structure: Structure | None) -> str:
    if structure is None or not structure.keys:
        return ""
    return f"; {structure.name} has {listed_keys(structure.keys)}"
