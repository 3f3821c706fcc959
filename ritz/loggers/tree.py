"""Rows into histories, and histories into NetKet's JSON layout and back."""

from collections.abc import Iterator, Mapping

import numpy as np

from ritz.driver.rows import fields_of
from ritz.folders.journal_rows import FIELDS as _FIELDS
from ritz.folders.journal_rows import SPECIAL as _SPECIAL
from ritz.loggers.history import Histories, History, HistoryDict
from ritz.types import JSON, Row, Value
from ritz.wording import counted


def append_row(tree: Histories, step: int, row: Value) -> Histories:
    """Add a row to a tree of histories and return the tree; `tree` is None for the first row.

    Raises:
        ValueError: If a value is of another kind or shape than those before it.
    """
    if type(row) is float and type(tree) is History:
        tree.append_value(step, row)
        return tree
    if isinstance(row, Mapping):
        _check_kind(tree, dict, row)
        tree = HistoryDict() if tree is None else tree
        for key, value in row.items():
            if type(value) is float or (value is not None and not _is_empty(value)):
                key = str(key)
                tree[key] = append_row(tree.get(key), step, value)
        return tree
    fields = fields_of(row)
    if fields is None and isinstance(row, list | tuple):
        _check_kind(tree, list, row)
        tree = [None] * len(row) if tree is None else tree
        if len(tree) != len(row):
            raise ValueError(
                f"a list of {counted(len(row), 'value')} cannot follow lists of {len(tree)}; log "
                "an array, or use another name."
            )
        return [t if v is None else append_row(t, step, v) for t, v in zip(tree, row, strict=True)]
    _check_kind(tree, History, row)
    if tree is None:
        tree = History()
    tree.append(step, {"value": row} if fields is None else fields)
    return tree


_KINDS = {dict: "dicts", list: "lists", HistoryDict: "dicts", History: "numbers or statistics"}


def _check_kind(tree: Histories, kind: type, row: object) -> None:
    if tree is not None and not isinstance(tree, kind):
        raise ValueError(
            f"{row!r:.60} cannot follow {_KINDS[type(tree)]} of the same name; use another name."
        )


def _is_empty(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and len(value) == 0


def histories(tree: Histories) -> Iterator[History]:
    """All histories in a tree, one after another."""
    if isinstance(tree, History):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from histories(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from histories(value)


def to_layout(tree: Histories) -> JSON:
    """A tree in NetKet's layout: dicts, lists and arrays that orjson can write."""
    if isinstance(tree, History):
        return {name: _plain(values) for name, values in tree.to_dict().items()}
    if isinstance(tree, Mapping):
        return {key: to_layout(value) for key, value in tree.items() if value is not None}
    return [to_layout(value) for value in tree or ()]


def _plain(values: np.ndarray) -> JSON:
    if values.dtype.kind == "c":
        return {
            "real": np.ascontiguousarray(np.real(values)),
            "imag": np.ascontiguousarray(np.imag(values)),
        }
    return values.tolist() if values.dtype.kind == "O" else np.ascontiguousarray(values)


def from_layout(layout: JSON) -> Histories:
    """The tree of histories behind a document in NetKet's layout.

    Raises:
        ValueError: If the document has another layout.
    """
    if isinstance(layout, list):
        return [from_layout(value) for value in layout]
    if not isinstance(layout, Mapping):
        raise ValueError(f"expected histories, but found {layout!r:.60}")
    if "iters" in layout:
        fields = {name: _array(values) for name, values in layout.items() if name != "iters"}
        return History(fields, layout["iters"])
    return HistoryDict({key: from_layout(value) for key, value in layout.items()})


def _array(values: JSON) -> np.ndarray:
    if isinstance(values, Mapping) and set(values) == {"real", "imag"}:
        return _array(values["real"]) + 1j * _array(values["imag"])
    array = np.array(values)
    if array.dtype.kind == "O" and not any(isinstance(v, str) for v in array.flat):
        return array.astype(float)  # null stands for NaN and infinities
    return array


def row_to_json(row: Value) -> JSON:
    """One row in a form that JSON keeps exactly; `row_from_json` reads it."""
    if isinstance(row, Mapping):
        return {str(k): row_to_json(v) for k, v in row.items() if v is not None}
    fields = fields_of(row)
    if fields is not None:
        return {_FIELDS: {k: _exact(v) for k, v in fields.items() if v is not None}}
    if isinstance(row, list | tuple):
        return [row_to_json(value) for value in row]
    return {_FIELDS: {"value": _exact(row)}}


def _exact(value: Value) -> JSON:
    if type(value) is float and value - value == 0.0:
        return value
    array = np.asarray(value)
    if array.dtype.kind == "c":
        return {"real": _exact(np.real(array)), "imag": _exact(np.imag(array))}
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        return {_SPECIAL: array.astype(str).tolist()}
    return array.tolist()


class Fields:
    """Fields of a quantity that were read from a journal."""

    def __init__(self, fields: Row):
        self.fields = fields

    def to_dict(self) -> Row:
        """The fields as a dict, as statistics give them."""
        return self.fields


def row_from_json(row: JSON) -> Value:
    """The inverse of `row_to_json`."""
    if isinstance(row, list):
        return [row_from_json(value) for value in row]
    if set(row) == {_FIELDS}:
        return Fields({name: _inexact(value) for name, value in row[_FIELDS].items()})
    return {key: row_from_json(value) for key, value in row.items()}


def _inexact(value: JSON) -> Value:
    if isinstance(value, dict):
        if _SPECIAL in value:
            return np.array(value[_SPECIAL], dtype=float)[()]
        return np.array(_inexact(value["real"])) + 1j * np.array(_inexact(value["imag"]))
    return np.array(value) if isinstance(value, list) else value
