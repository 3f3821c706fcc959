"""Settings as text, so that those of two runs can be compared."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

import jax
import numpy as np

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_FEW = 16
"""Arrays of at most so many elements are written out."""


def describe(value: object) -> dict[str, str]:
    """Describe `value` as a flat dict of dotted names and texts.

    Functions are told by their names and by what they have closed over, as the transformations of
    optax keep their learning rates; dataclasses by the fields that are compared and shown; arrays,
    and what wraps one, by shape, type and content; sets in the order of their texts; other objects
    by their `repr`, without addresses. The same settings give the same texts in every process.
    """
    return dict(_describe("", value, ()))


def differences(saved: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Differences between two descriptions, one line for each name."""
    lines = []
    for name in dict.fromkeys([*saved, *present]):
        old, new = saved.get(name), present.get(name)
        if old != new:
            old, new = ("nothing" if text is None else text for text in (old, new))
            lines.append(f"{name} was {old}, is {new}")
    return lines


def _describe(name: str, value: object, within: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    if id(value) in within or isinstance(value, type):
        yield name, getattr(value, "__qualname__", type(value).__name__)
        return
    within = (*within, id(value))
    parts = _parts(value)
    if parts is None:
        yield name, _text(value)
        return
    head, inner = parts
    if head is not None:
        yield name, head
    for key, part in inner.items():
        yield from _describe(f"{name}.{key}" if name else str(key), part, within)


def _parts(value: object) -> tuple[str | None, Mapping[Any, object]] | None:
    """The type and the parts of a composite value; None for other values."""
    if isinstance(value, Mapping):
        return None, dict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value).__name__, value._asdict()  # type: ignore[attr-defined]
    if isinstance(value, list | tuple):
        return None, dict(enumerate(value))
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if f.repr and f.compare]
        known = {name: getattr(value, name) for name in fields if hasattr(value, name)}
        return type(value).__name__, known
    if isinstance(value, functools.partial):
        return "partial", {"function": value.func, **dict(enumerate(value.args)), **value.keywords}
    if isinstance(value, MethodType):
        return None, {"method": value.__func__, "of": value.__self__}
    inner = getattr(value, "__wrapped__", None)
    if not isinstance(value, FunctionType) and isinstance(inner, FunctionType):
        value = inner  # a function that jax.jit and the like have wrapped
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        return f"{value.__module__}.{value.__qualname__}", {k: _content(c) for k, c in cells}
    return None


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None


def _text(value: object) -> str:
    wrapped = getattr(value, "wrapped", None)
    if isinstance(wrapped, np.ndarray):  # NetKet's HashableArray, whose repr has its hash
        value = wrapped
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        if array.ndim and array.size <= _FEW:
            return repr(array.tolist())
        if array.ndim:
            digest = hashlib.sha256(array.tobytes()).hexdigest()[:12]
            return f"{array.dtype}{list(array.shape)} {digest}"
        value = array.item()
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    text = value if isinstance(value, str) else repr(value)
    return " ".join(_ADDRESS.sub("", text).split())
