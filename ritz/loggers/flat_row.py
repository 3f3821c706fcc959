"""Rows whose statistics also have flat names."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ritz.driver.rows import children
from ritz.types import Row

_LOSS = "total_energy"
_PARTS = {"": "mean", "_var": "variance", "_error": "error_of_mean"}


class FlatRow(dict[str, Any]):
    """A row in which numbers within statistics can be looked up by flat names too.

    `total_energy` is the mean of the loss, `energy:NAME` that of another quantity with a mean; with
    `_var` and `_error` at the end they are its variance and error. `NAME:PART` is any part of a
    quantity, and `pmove` the acceptance. Iteration leaves out these names.

    Args:
        row: The row.
        loss_name: The name of the loss in it.
    """

    def __init__(self, row: Row, loss_name: str):
        super().__init__(row)
        self._loss_name = loss_name

    def __missing__(self, name: str) -> Any:
        if name == "pmove" and super().__contains__("acceptance"):
            return self["acceptance"]
        first, colon, part = name.partition(":")
        found = None
        if colon and part[:1] != "_" and super().__contains__(first):
            found = part_of(self[first], part)
        if found is not None:
            return found
        for ending in ("_var", "_error", ""):
            if not name.endswith(ending):
                continue
            owner = name.removesuffix(ending)
            owner = self._loss_name if owner == _LOSS else owner.removeprefix("energy:")
            known = super().__contains__(owner) and owner != name
            if known and (found := part_of(self[owner], _PARTS[ending])) is not None:
                return found
        raise KeyError(name)

    def get(self, name: str, default: object = None) -> Any:  # type: ignore[override]
        """The value of this name, flat or not."""
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self.get(name) is not None)

    def _flat_names(self) -> Iterator[str]:
        for name, value in self.items():
            if part_of(value, "mean") is not None:
                stem = _LOSS if name == self._loss_name else f"energy:{name}"
                yield from (f"{stem}{ending}" for ending in _PARTS)
            yield from (f"{name}:{part}" for part in children(value) or ())
        yield "pmove"

    def flattened(self) -> Row:
        """The row with all flat names beside the others."""
        found = {name: self[name] for name in self._flat_names() if name in self}
        return {**found, **self}


def part_of(statistics: object, name: str) -> Any:
    """A part of statistics such as "mean", whether as an attribute or an entry; None if not there.

    Entries may begin with a capital, as NetKet writes them.
    """
    found = getattr(statistics, name, None)
    if found is None or callable(found):
        parts = children(statistics) or {}
        found = parts.get(name, parts.get(name.capitalize()))
    return None if isinstance(found, str) else found


def as_number(value: object) -> float:
    """A value of a row as a float: the real part; the mean for statistics and arrays.

    Values without a number, such as text, become NaN.
    """
    if not isinstance(value, np.ndarray | np.generic):
        mean = part_of(value, "mean")
        value = value if mean is None else mean
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return float("nan")
    if array.dtype.kind not in "biufc" or not array.size:
        return float("nan")
    return float(np.real(array.reshape(()) if array.size == 1 else np.mean(array)))
