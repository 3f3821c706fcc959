"""The columns of a data set's HDF5 file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ritz.mlip.structure import Structure

DERIVATIVES = "derivatives"
"""The group of the derivatives of the features."""

_ENDS = {"pair_ends": "kinds", "near_ends": "angular"}
"""Columns that say where the entries of each structure end, and one that they are of."""

_BY_ATOM = ("counts", "near")


def append(
    file: Any,
    structures: Sequence[Structure],
    features: Sequence[np.ndarray] | None,
    derivatives: Sequence[Mapping[str, np.ndarray]] | None,
) -> None:
    """Write structures behind those that are there."""
    import h5py

    def or_zero(value: Any, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape) if value is None else np.asarray(value)

    known = [
        (s.cell is not None, s.energy is not None, s.forces is not None, s.stress is not None)
        for s in structures
    ]
    numbers = [s.to_ase().numbers for s in structures]
    begin = int(file["ends"][-1]) if "ends" in file else 0
    columns = {
        "ends": begin + np.cumsum([len(s) for s in structures]),
        "positions": np.concatenate([s.positions for s in structures]),
        "numbers": np.concatenate(numbers).astype(np.int16),
        "forces": np.concatenate([or_zero(s.forces, (len(s), 3)) for s in structures]),
        "energy": np.array([0.0 if s.energy is None else s.energy for s in structures]),
        "cell": np.array([or_zero(s.cell, (3, 3)) for s in structures]),
        "pbc": np.array([s.pbc for s in structures]),
        "stress": np.array([or_zero(s.stress, (3, 3)) for s in structures]),
        "weight": np.array([s.weight for s in structures]),
        "known": np.array(known),
        "name": np.array([s.name or "" for s in structures], h5py.string_dtype()),
    }
    if features is not None:
        columns["features"] = np.concatenate(features)
    if derivatives is not None:
        group = file.require_group(DERIVATIVES)
        for name in derivatives[0]:
            columns[f"{DERIVATIVES}/{name}"] = np.concatenate([own[name] for own in derivatives])
        for name, of in _ENDS.items():
            first = int(group[name][-1]) if name in group else 0
            lengths = [len(own[of]) for own in derivatives]
            columns[f"{DERIVATIVES}/{name}"] = first + np.cumsum(lengths)
    for name, values in columns.items():
        if name not in file:
            file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]), chunks=True)
            continue
        dataset = file[name]
        dataset.resize(len(dataset) + len(values), axis=0)
        dataset[-len(values) :] = values


def read_derivatives(file: Any, index: int, atoms: slice) -> dict[str, np.ndarray]:
    """What was kept of one structure, see `pair_derivatives`."""
    group = file[DERIVATIVES]

    def entries(ends: str) -> slice:
        begin = 0 if index == 0 else int(group[ends][index - 1])
        return slice(begin, int(group[ends][index]))

    pairs, near = entries("pair_ends"), entries("near_ends")
    found = {}
    for name in group:
        if name not in _ENDS:
            chosen = atoms if name in _BY_ATOM else near if name == "angular" else pairs
            found[name] = group[name][chosen]
    return found
