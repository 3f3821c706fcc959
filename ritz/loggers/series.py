"""Rows as flat columns by name, as in CSV files, from which every log can be rebuilt."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ritz.loggers.checksums import named_histories
from ritz.loggers.history import Histories, History, HistoryDict
from ritz.types import JSON


class Series(NamedTuple):
    """A column: real numbers or strings, with their steps."""

    steps: np.ndarray
    values: np.ndarray


def flat_series(tree: Histories) -> dict[str, Series]:
    """The columns of histories: `NAME.FIELD`, with `re`, `im` or an index behind it.

    The main field of plain numbers, `value`, is there as `NAME` too.
    """
    found: dict[str, Series] = {}
    for name, history in named_histories(tree):
        steps = history.iters
        for field, values in history.to_dict().items():
            if field == "iters":
                continue
            names = [f"{name}.{field}"] + [name] * (field == "value")
            for index in np.ndindex(values.shape[1:]):
                column = values[(slice(None), *index)]
                for base in names:
                    full = ".".join([base, *map(str, index)])
                    found |= _parts(full, steps, column)
    return found


def _parts(name: str, steps: np.ndarray, column: np.ndarray) -> dict[str, Series]:
    if column.dtype.kind == "c":
        return {
            f"{name}.re": Series(steps, np.real(column)),
            f"{name}.im": Series(steps, np.imag(column)),
        }
    if column.dtype.kind == "O":
        return {name: Series(steps, column)}
    return {name: Series(steps, column.astype(float))}


def layout_of(tree: Histories) -> JSON:
    """Nesting of histories, with type and shape of each field, as JSON can hold it."""
    if isinstance(tree, History):
        fields = {
            name: [values.dtype.kind, list(values.shape[1:])]
            for name, values in tree.to_dict().items()
            if name != "iters"
        }
        return {"fields": fields}
    if isinstance(tree, Mapping):
        return {"dict": {k: layout_of(v) for k, v in tree.items() if v is not None}}
    return {"list": [layout_of(v) for v in tree or ()]}


def tree_from(layout: JSON, series: Mapping[str, Series], name: str = "") -> Histories:
    """The histories that have a layout, from flat columns.

    Raises:
        KeyError: If a column is missing.
    """
    if "dict" in layout:
        items = layout["dict"].items()
        return HistoryDict({k: tree_from(v, series, _joined(name, k)) for k, v in items})
    if "list" in layout:
        return [tree_from(v, series, _joined(name, i)) for i, v in enumerate(layout["list"])]
    columns = {
        field: _columns(name, field, kind, shape, series)
        for field, (kind, shape) in layout["fields"].items()
    }
    every = [column.steps for parts in columns.values() for column in parts]
    steps = np.unique(np.concatenate(every)) if every else np.array([], int)
    fields = {}
    for field, (kind, shape) in layout["fields"].items():
        fields[field] = _stacked(columns[field], steps, kind, shape)
    return History(fields, steps)


def _joined(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _columns(
    name: str, field: str, kind: str, shape: Sequence[int], series: Mapping[str, Series]
) -> list[Series]:
    found = []
    for index in np.ndindex(*shape):
        bases = [name, f"{name}.{field}"] if field == "value" else [f"{name}.{field}"]
        for end in [".re", ".im"] if kind == "c" else [""]:
            names = ["".join([base, *(f".{i}" for i in index), end]) for base in bases]
            known = [name for name in names if name in series]
            found.append(series[known[0] if known else names[0]])
    return found


def _stacked(
    columns: Sequence[Series], steps: np.ndarray, kind: str, shape: Sequence[int]
) -> np.ndarray:
    filled = [_filled(column, steps, kind) for column in columns]
    if kind == "c":
        filled = [_complex(*filled[i : i + 2]) for i in range(0, len(filled), 2)]
    stacked = np.stack(filled, axis=-1) if filled else np.empty((len(steps), 0))
    if kind in "iub" and np.all(np.isfinite(stacked)):
        stacked = stacked.astype({"i": int, "u": np.uint64, "b": bool}[kind])
    return stacked.reshape(len(steps), *shape)


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    values = np.empty(real.shape, complex)
    values.real, values.imag = real, imaginary
    return values


def _filled(column: Series, steps: np.ndarray, kind: str) -> np.ndarray:
    values = np.full(len(steps), None if kind == "O" else np.nan, object if kind == "O" else float)
    values[np.searchsorted(steps, column.steps)] = column.values
    return values
