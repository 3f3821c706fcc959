"""Energies, forces and stresses of ASE's structures, under named keys."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from ritz.mlip.structure import Structure

LABELS = ("energy", "forces", "stress")
"""What a structure may be labelled with."""


def from_ase(
    atoms: Atoms,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    name: str | None = None,
) -> Structure:
    """A structure with its labels, from `ase.Atoms`.

    A label is looked for among the results of the calculator, in `atoms.info` and in
    `atoms.arrays`.

    Args:
        atoms: The structure.
        energy_key: Where the total energy is, in eV. None takes "energy", if it is there.
        forces_key: Where the forces are, in eV/Angstrom. None takes "forces", if they are there.
        stress_key: Where the stress is, in eV/Angstrom^3 with ASE's sign. None takes "stress", if
            it is there.
        name: What the structure is called; by default `atoms.info["name"]`, if there is one.

    Raises:
        ValueError: If a key that was given is not there; those that are there are listed.
    """
    found = available(atoms)
    labels: dict[str, Any] = {}
    for label, key in zip(LABELS, (energy_key, forces_key, stress_key), strict=True):
        if key is not None and key not in found:
            raise ValueError(
                f"{name or 'the structure'} has no {label} under the key {key!r}; "
                f"it has {_listed(found)}."
            )
        labels[label] = found.get(label if key is None else key)
    if name is None and "name" in atoms.info:
        name = str(atoms.info["name"])
    cell = np.asarray(atoms.cell) if np.any(np.asarray(atoms.cell)) else None
    return Structure(
        positions=atoms.positions, species=atoms.get_chemical_symbols(), cell=cell,
        pbc=tuple(map(bool, atoms.pbc)), name=name,
        weight=float(atoms.info.get("weight", 1.0)), **labels,
    )  # fmt: skip


def available(atoms: Atoms) -> dict[str, Any]:
    """All that might be a label, by its key: results, `info` and `arrays`, the first first."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    found = {**arrays, **atoms.info, **results}
    if "free_energy" in results and "energy" not in results:
        found.setdefault("energy", results["free_energy"])
    return {key: value for key, value in found.items() if _is_numeric(value)}


def _is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiu"
    except ValueError:
        return False


def _listed(found: Mapping[str, Any]) -> str:
    if not found:
        return "no numbers under any key"
    return "numbers under the keys " + ", ".join(sorted(found))


class LabelCheck:
    """Refuses structures that have nothing to train on.

    Args:
        forces: Whether forces are asked for; some must have them.
        stress: Whether stresses are asked for; some must have them.
    """

    def __init__(self, forces: bool, stress: bool):
        self._found = {"forces": not forces, "stress": not stress}
        self._count = 0

    def see(self, structure: Structure) -> None:
        """Look at the next structure.

        Raises:
            ValueError: If it has no energy.
        """
        if structure.energy is None:
            raise ValueError(
                f"structure {structure.name or self._count} has no energy; give "
                "Structure(energy=...), or read_structures(..., energy_key=...) the key under "
                "which the file has it."
            )
        self._count += 1
        for label in self._found:
            self._found[label] |= getattr(structure, label) is not None

    def finish(self) -> None:
        """Refuse what none of the structures had.

        Raises:
            ValueError: If none has forces or stress that are asked for.
        """
        for label, has in self._found.items():
            if not has:
                weight = {"forces": "force_weight", "stress": "stress_weight"}[label]
                raise ValueError(
                    f"no structure has {label}, but {weight} is above 0; set {weight}=0, or say "
                    f"under which key they are: read_structures(..., {label}_key=...)."
                )
