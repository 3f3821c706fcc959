"""What is in a data set's HDF5 file: few reads for each structure, since each takes its time."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ritz.mlip.structure import Structure

STRUCTURES, ATOMS, NAMES, FEATURES = "structures", "atoms", "names", "features"
VALUES, INDICES = "derivative_values", "derivative_indices"

_RECORD = np.dtype([
    ("atoms", "i8"), ("names", "i8"), ("values", "i8"), ("indices", "i8"), ("energy", "f8"),
    ("weight", "f8"), ("cell", "f8", (3, 3)), ("stress", "f8", (3, 3)), ("pbc", "u1", 3),
    ("known", "u1", 4),
])  # fmt: skip
"""A structure; the first four are where its entries in other columns end."""

_ATOM = np.dtype([("number", "i2"), ("position", "f8", 3), ("force", "f8", 3)])

_BY_ATOM = ("counts", "near")
_BY_PAIR = ("kinds", "within", "partners")
_REAL = ("slopes", "units", "distances", "angular")


class Ends(NamedTuple):
    """Where the entries of each structure end, in each of the columns."""

    atoms: np.ndarray
    names: np.ndarray
    values: np.ndarray
    indices: np.ndarray

    def of(self, column: str, index: int) -> slice:
        """Where those of one structure are."""
        ends = getattr(self, column)
        return slice(0 if index == 0 else int(ends[index - 1]), int(ends[index]))


def append(
    file: Any,
    structures: Sequence[Structure],
    features: Sequence[np.ndarray] | None,
    derivatives: Sequence[Mapping[str, np.ndarray]] | None,
) -> None:
    """Write structures behind those that are there."""
    last = file[STRUCTURES][-1] if STRUCTURES in file else np.zeros((), _RECORD)
    names = [(s.name or "").encode() for s in structures]
    records = np.zeros(len(structures), _RECORD)
    records["atoms"] = last["atoms"] + np.cumsum([len(s) for s in structures])
    records["names"] = last["names"] + np.cumsum([len(name) for name in names])
    for record, s in zip(records, structures, strict=True):
        record["energy"] = 0.0 if s.energy is None else s.energy
        record["weight"] = s.weight
        record["cell"] = 0.0 if s.cell is None else s.cell
        record["stress"] = 0.0 if s.stress is None else s.stress
        record["pbc"] = s.pbc
        known = (s.cell, s.energy, s.forces, s.stress)
        record["known"] = [value is not None for value in known]
    atoms = np.zeros(sum(map(len, structures)), _ATOM)
    atoms["number"] = np.concatenate([s.to_ase().numbers for s in structures])
    atoms["position"] = np.concatenate([s.positions for s in structures])
    atoms["force"] = np.concatenate(
        [np.zeros((len(s), 3)) if s.forces is None else s.forces for s in structures]
    )
    columns = {ATOMS: atoms, NAMES: np.frombuffer(b"".join(names), np.uint8)}
    if features is not None:
        columns[FEATURES] = np.concatenate(features)
    if derivatives is not None:
        values = [np.concatenate([own[name].ravel() for name in _REAL]) for own in derivatives]
        indices = [
            np.concatenate([own[name] for name in (*_BY_ATOM, *_BY_PAIR)]) for own in derivatives
        ]
        records["values"] = last["values"] + np.cumsum(list(map(len, values)))
        records["indices"] = last["indices"] + np.cumsum(list(map(len, indices)))
        columns[VALUES] = np.concatenate(values)
        columns[INDICES] = np.concatenate(indices).astype(np.int32)
    for name, column in {**columns, STRUCTURES: records}.items():
        if name not in file:
            file.create_dataset(name, data=column, maxshape=(None, *column.shape[1:]), chunks=True)
            continue
        dataset = file[name]
        dataset.resize(len(dataset) + len(column), axis=0)
        dataset[len(dataset) - len(column) :] = column


def read_ends(file: Any) -> Ends:
    """Where the entries of all structures end."""
    fields = file[STRUCTURES].fields(Ends._fields)[:]
    return Ends(*(np.ascontiguousarray(fields[name]) for name in Ends._fields))


def read_structure(file: Any, ends: Ends, index: int) -> dict[str, Any]:
    """The arguments of a `Structure`, with atomic numbers in place of species."""
    record, atoms = file[STRUCTURES][index], file[ATOMS][ends.of("atoms", index)]
    has_cell, has_energy, has_forces, has_stress = record["known"]
    return {
        "positions": atoms["position"],
        "numbers": atoms["number"],
        "energy": float(record["energy"]) if has_energy else None,
        "forces": atoms["force"] if has_forces else None,
        "cell": record["cell"] if has_cell else None,
        "pbc": tuple(map(bool, record["pbc"])),
        "stress": record["stress"] if has_stress else None,
        "name": file[NAMES][ends.of("names", index)].tobytes().decode() or None,
        "weight": float(record["weight"]),
    }


def read_derivatives(
    file: Any, ends: Ends, index: int, n_radial: int, n_angular: int
) -> dict[str, np.ndarray]:
    """What was kept of one structure, see `pair_derivatives`."""
    indices = file[INDICES][ends.of("indices", index)]
    atoms = ends.of("atoms", index)
    n_atoms = atoms.stop - atoms.start
    n_pairs = int(indices[:n_atoms].sum())
    n_near = int(indices[n_atoms : 2 * n_atoms].sum())
    cuts = [n_atoms, 2 * n_atoms, *(2 * n_atoms + n_pairs * n for n in (1, 2))]
    found: dict[str, np.ndarray] = dict(
        zip((*_BY_ATOM, *_BY_PAIR), np.split(indices, cuts), strict=True)
    )
    values = file[VALUES][ends.of("values", index)]
    shapes = [(n_pairs, n_radial), (n_pairs, 3), (n_pairs,), (n_near, n_angular, 3)]
    parts = np.split(values, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    for name, part, shape in zip(_REAL, parts, shapes, strict=True):
        found[name] = part.reshape(shape)
    return found
