"""Under which names, and in which units, files have what structures are labelled with."""

import dataclasses
from typing import Any

from ritz.mlip.unit_names import unit_factor

LABELS = ("energy", "forces", "stress", "virial")
"""What a structure may be labelled with."""


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

    def record(self, given: dict[str, Any]) -> dict[str, Any]:
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
