"""Structures from ASE's and from records, with energies, forces and stresses under named keys."""

import dataclasses
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ritz.mlip.data.labelling import LABELS, Labelling, listed_keys
from ritz.mlip.data.structure import Structure, full_stress
from ritz.mlip.data.units import to_floats
from ritz.potentials.occupancy import check_occupancy
from ritz.types import Settings

_TOLERANCE = 0.02
"""Largest difference of stress and virial, as a fraction of the largest component."""

_ASYMMETRY = 0.05
"""Largest asymmetry of a stress, as a fraction: programs leave some noise."""


StructureLike: TypeAlias = Structure | Atoms | Mapping[str, Any]
"""A structure, `ase.Atoms` with its calculator's results, or a record: `Structure`'s arguments."""

StructuresLike: TypeAlias = StructureLike | Iterable[StructureLike]
"""One structure or many."""


def from_ase(
    atoms: Atoms,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    name: str | None = None,
    *,
    virial_key: str | None = None,
    energy_unit: str = "eV",
    length_unit: str = "Angstrom",
    forces_unit: str | None = None,
    stress_unit: str | None = None,
) -> Structure:
    """A structure with its labels, from `ase.Atoms`.

    A label is looked for among the results of the calculator, in `atoms.info` and in
    `atoms.arrays`. It may be text with numbers, also in Fortran's notation.

    Args:
        atoms: The structure.
        energy_key: Where the total energy is. None takes "energy", if it is there.
        forces_key: Where the forces are. None takes "forces", if they are there.
        stress_key: Where the stress is, in 6 or 9 numbers with ASE's sign. None takes "stress", if
            it is there.
        name: What the structure is called; by default `atoms.info["name"]`, if there is one.
        virial_key: Where the virial is, -stress times the volume. None takes "virial", if it is
            there and there is no stress.
        energy_unit: Of energies and virials, see `Labelling`.
        length_unit: Of positions and lattice vectors.
        forces_unit: None for `energy_unit` over `length_unit`.
        stress_unit: None for `energy_unit` over `length_unit`^3.

    Raises:
        ValueError: If a key that was given is not there, and those that are there are listed; if a
            value is no number; or if sites are occupied in part.
    """
    labelling = Labelling(
        energy_key,
        forces_key,
        stress_key,
        virial_key=virial_key,
        energy_unit=energy_unit,
        length_unit=length_unit,
        forces_unit=forces_unit,
        stress_unit=stress_unit,
    )
    return structure_from_atoms(atoms, labelling, name)


def structure_from_atoms(atoms: Atoms, labelling: Labelling, name: str | None = None) -> Structure:
    """A structure from `ase.Atoms`, as `from_ase`, with keys and units in one argument."""
    check_occupancy(atoms)
    given = _candidate_labels(atoms)
    if name is None and "name" in atoms.info:
        name = str(atoms.info["name"])
    found: dict[str, np.ndarray] = {}
    for label in () if labelling.bare else LABELS:
        key = labelling.key(label)
        if key is not None and key not in given:
            raise ValueError(
                f"{name or 'the structure'} has no {label} under the key {key!r}; "
                f"it has {listed_keys(_numeric(given))}."
            )
        if key is None and label == "virial" and np.size(given.get(label, 0)) not in (6, 9):
            continue  # by atom, for example
        key = label if key is None else key
        if given.get(key) is not None:
            found[label] = labelling.scales[label] * _number_label(label, key, given[key])
    cell = np.asarray(atoms.cell) if np.any(np.asarray(atoms.cell)) else None
    cell = None if cell is None else labelling.length * cell
    return Structure(
        positions=labelling.length * atoms.positions,
        species=atoms.get_chemical_symbols(),
        cell=cell,
        pbc=tuple(map(bool, atoms.pbc)),
        name=name,
        weight=_number_label("weight", "weight", atoms.info.get("weight", 1.0)),  # type: ignore[arg-type]
        energy=None if "energy" not in found else float(found["energy"]),
        forces=found.get("forces"),
        stress=_stress(found, labelling, cell),
        config_type=_text(atoms.info.get("config_type")),
        keys=tuple(sorted(_numeric(given))),
    )


def from_record(given: Mapping[str, ArrayLike], labelling: Labelling) -> Structure:
    """A structure from a record: a mapping with the arguments of `Structure`, or a virial.

    Raises:
        TypeError: If a value is no number.
        ValueError: If a key is missing, or not allowed.
    """
    record = labelling.record(dict(given))
    found = {
        label: labelling.scales[label] * _number_label(label, label, record.pop(label))
        for label in LABELS
        if record.get(label) is not None
    }
    cell = record.get("cell")
    for name, value in (("positions", record.get("positions")), ("cell", cell)):
        if value is not None and labelling.length != 1:
            record[name] = labelling.length * _number_label(name, name, value)
    stress = _stress(found, labelling, None if cell is None else np.asarray(record["cell"], float))
    labels = {"energy": found.get("energy"), "forces": found.get("forces"), "stress": stress}
    return as_structure({**record, **labels, "keys": tuple(sorted(_numeric(given)))})


def _stress(
    found: Mapping[str, np.ndarray], labelling: Labelling, cell: np.ndarray | None
) -> np.ndarray | None:
    """The stress, from itself or the virial."""
    stress, virial = found.get("stress"), found.get("virial")
    if stress is not None:
        stress = _symmetric(stress, "stress")
    if virial is None or (labelling.stress_key is not None and labelling.virial_key is None):
        return stress
    if cell is None or np.linalg.matrix_rank(cell) < 3:
        if labelling.virial_key is None:
            return stress
        raise ValueError("a virial needs three lattice vectors: the stress is -virial / volume.")
    other = -_symmetric(virial, "virial") / abs(np.linalg.det(cell))
    if stress is None or (labelling.virial_key is not None and labelling.stress_key is None):
        return other
    largest = max(np.abs(stress).max(), np.abs(other).max())
    if np.abs(stress - other).max() > _TOLERANCE * largest:
        raise ValueError(
            f"stress and virial disagree: -virial / volume is {other.tolist()} and the stress "
            f"{stress.tolist()} in eV/Angstrom^3; say which with stress_key or virial_key, or its "
            "stress_unit."
        )
    return stress


def _symmetric(value: object, label: str) -> np.ndarray:
    found = full_stress(value, label)
    if np.abs(found - found.T).max() > _ASYMMETRY * np.abs(found).max():
        raise ValueError(f"{label} must be symmetric, but {found.tolist()} was given.")
    return found


def _candidate_labels(atoms: Atoms) -> Settings:
    """Candidates for labels by key: results first, then `info` and `arrays`."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    found = {**arrays, **atoms.info, **results}
    if results.get("free_energy") is not None and results.get("energy") is None:
        found["energy"] = found.get("energy") or results["free_energy"]
    return found


def _numeric(given: Mapping[str, object]) -> list[str]:
    return [str(key) for key, value in given.items() if to_floats(value) is not None]


def _number_label(label: str, key: str, value: object) -> np.ndarray:
    found = to_floats(value)
    if found is None:
        under = "" if key == label else f" (under the key {key!r})"
        raise ValueError(f"{label}{under} must be numbers, but {_abbreviated(value)} was given.")
    if label in ("energy", "weight"):
        if found.size != 1:
            raise ValueError(f"{label} must be one number, but {_abbreviated(value)} was given.")
        return found.reshape(())
    return found


def _abbreviated(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def as_structure(given: StructureLike) -> Structure:
    """A structure, from itself, `ase.Atoms` with its calculator's results, or a record.

    A record is a mapping with the arguments of `Structure` by name.

    Raises:
        TypeError: If it is something else.
        ValueError: If a record has other keys.
    """
    if isinstance(given, Structure):
        return given
    if isinstance(given, Mapping):
        known = [field.name for field in dataclasses.fields(Structure)]
        others = sorted(set(given) - set(known))
        if others or not {"positions", "species"} <= set(given):
            raise ValueError(
                f"a record has positions and species, and may have {', '.join(known[2:])}; this "
                f"one has: {', '.join(sorted(map(str, given)))}."
            )
        return Structure(**given)
    if isinstance(given, Atoms):
        return from_ase(given)
    is_path = isinstance(given, str | PathLike)
    hint = "; read files with ritz.mlip.read_structures(...)" if is_path else ""
    raise TypeError(
        f"structures are ritz.mlip.Structure, ase.Atoms or records, but {given!r} was given{hint}."
    )


def as_structures(given: StructuresLike) -> list[Structure]:
    """Structures, from one or many; see `as_structure`.

    Raises:
        TypeError: If something is no structure.
        ValueError: If there is none.
    """
    is_one = isinstance(given, Structure | Atoms | Mapping)
    many: Iterable[StructureLike] = [given] if is_one else given  # type: ignore[list-item]
    if isinstance(many, str) or not isinstance(many, Iterable):
        many = [given]  # type: ignore[list-item]
    found = [as_structure(one) for one in many]
    if not found:
        raise ValueError("there are no structures.")
    return found
