"""Columns of a data set's HDF5 file; few reads per structure, since each takes its time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ritz.mlip.data.structure import Structure
from ritz.types import Settings

if TYPE_CHECKING:
    import h5py

ENDS, STRUCTURES, ATOMS, NAMES = "ends", "structures", "atoms", "names"

FEATURES, VALUES, INDICES = "features", "derivative_values", "derivative_indices"

_STRUCTURE = {"energy": 1, "weight": 1, "cell": 9, "stress": 9, "pbc": 3, "known": 4}
"""How many numbers there are of what, in a row of `structures`; rows of `atoms` have an atomic
number, a position and a force. Plain matrices are read faster than records."""


class Ends(NamedTuple):
    """Ends of the entries of each structure in each column."""

    atoms: np.ndarray
    names: np.ndarray
    values: np.ndarray
    indices: np.ndarray

    def of(self, column: str, index: int) -> slice:
        """The entries of one structure."""
        ends = getattr(self, column)
        return slice(0 if index == 0 else int(ends[index - 1]), int(ends[index]))


def append(
    file: Any,
    structures: Sequence[Structure],
    features: Sequence[np.ndarray] | None,
    derivatives: Sequence[tuple[np.ndarray, np.ndarray]] | None,
) -> None:
    """Append structures to the columns of the open file."""
    last = Ends(*(file[ENDS][-1] if ENDS in file else np.zeros(len(Ends._fields), int)))
    names = [(s.name or "").encode() for s in structures]
    lengths = {"atoms": list(map(len, structures)), "names": list(map(len, names))}
    rows = []
    for s in structures:
        known = (s.cell, s.energy, s.forces, s.stress)
        parts = (
            s.energy or 0.0,
            s.weight,
            np.zeros(9) if s.cell is None else s.cell,
            np.zeros(9) if s.stress is None else s.stress,
            s.pbc,
            [value is not None for value in known],
        )
        rows.append(np.concatenate([np.ravel(np.asarray(part, float)) for part in parts]))
    atoms = np.zeros((sum(lengths["atoms"]), 7))
    atoms[:, 0] = np.concatenate([s.to_ase().numbers for s in structures])
    atoms[:, 1:4] = np.concatenate([s.positions for s in structures])
    atoms[:, 4:] = np.concatenate(
        [np.zeros((len(s), 3)) if s.forces is None else s.forces for s in structures]
    )
    columns = {
        STRUCTURES: np.array(rows),
        ATOMS: atoms,
        NAMES: np.frombuffer(b"".join(names), np.uint8),
    }
    if features is not None:
        columns[FEATURES] = np.concatenate(features)
    if derivatives is not None:
        values, indices = zip(*derivatives, strict=True)
        lengths |= {"values": list(map(len, values)), "indices": list(map(len, indices))}
        columns[VALUES] = np.concatenate(values)
        columns[INDICES] = np.concatenate(indices)
    nothing = [0] * len(structures)
    columns[ENDS] = np.stack(
        [
            end + np.cumsum(lengths.get(name, nothing))
            for name, end in zip(Ends._fields, last, strict=True)
        ],
        axis=1,
    )
    for name, column in columns.items():
        if name not in file:
            file.create_dataset(name, data=column, maxshape=(None, *column.shape[1:]), chunks=True)
            continue
        dataset = file[name]
        dataset.resize(len(dataset) + len(column), axis=0)
        dataset[len(dataset) - len(column) :] = column


def read_ends(file: Any) -> Ends:
    """Where the entries of all structures end."""
    return Ends(*np.ascontiguousarray(file[ENDS][:].T))


def read_structure(columns: Mapping[str, "h5py.Dataset"], ends: Ends, index: int) -> Settings:
    """The arguments of a `Structure`, with atomic numbers in place of species."""
    row, atoms = columns[STRUCTURES][index], columns[ATOMS][ends.of("atoms", index)]
    parts = np.split(row, np.cumsum(list(_STRUCTURE.values()))[:-1])
    found = dict(zip(_STRUCTURE, parts, strict=True))
    has_cell, has_energy, has_forces, has_stress = map(bool, found["known"])
    return {
        "positions": atoms[:, 1:4],
        "numbers": atoms[:, 0].astype(int),
        "energy": float(row[0]) if has_energy else None,
        "forces": atoms[:, 4:] if has_forces else None,
        "cell": found["cell"].reshape(3, 3) if has_cell else None,
        "pbc": tuple(map(bool, found["pbc"])),
        "stress": found["stress"].reshape(3, 3) if has_stress else None,
        "name": columns[NAMES][ends.of("names", index)].tobytes().decode() or None,
        "weight": float(found["weight"][0]),
    }


def read_derivatives(
    columns: Mapping[str, "h5py.Dataset"], ends: Ends, index: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Derivatives of one structure: real numbers, integers, and its number of atoms."""
    atoms = ends.of("atoms", index)
    values = columns[VALUES][ends.of("values", index)]
    return values, columns[INDICES][ends.of("indices", index)], atoms.stop - atoms.start
