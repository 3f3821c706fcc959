"""What a step's row holds: names, nested values and the statistics among them."""

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]


def children(value: Any) -> dict[str, Any] | None:
    """The named parts of `value`, or None if it is a number, an array or a string.

    Dicts have their keys, statistics what their `to_dict` gives, lists and tuples their indices
    and named tuples their fields.
    """
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, list | tuple):
        return {str(i): v for i, v in enumerate(value)}
    return None


def leaves(row: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All numbers, arrays and strings of a row with their paths; None is left out."""
    for key, value in row.items():
        path = (*prefix, str(key))
        parts = children(value)
        if parts is not None:
            yield from leaves(parts, path)
        elif value is not None:
            yield path, value
