"""Names of runs by what differs between them."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 120
"""Characters that a name may have; what is longer is cut and gets a checksum."""


def names_of(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One name for each run, that no other has.

    The name of a setting is its last part, or as many as tell it from the others; values are
    written so that they may stand in the name of a folder.

    Args:
        settings: What differs, for each run.

    Raises:
        ValueError: If two runs have the same settings.
    """
    keys = list(dict.fromkeys(key for row in settings for key in row))
    short = short_names(keys)
    names = [_cut(",".join(f"{short[k]}={_value(v)}" for k, v in row.items())) for row in settings]
    seen: set[str] = set()
    for place, (name, row) in enumerate(zip(names, settings, strict=True)):
        if row in settings[:place]:
            raise ValueError(
                f"two runs have the same settings, {name or 'none that differ'}; leave one out."
            )
        if name in seen:
            names[place] = f"{name[:LONGEST]}-{_checksum(row)}"
        seen.add(names[place])
    return [name or "run" for name in names]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last parts, as many as tell it from the others."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for n in range(1, len(parts) + 1):
            ending = ".".join(parts[-n:])
            clashes = [k for k in keys if k != key and f".{k}".endswith(f".{ending}")]
            if not clashes:
                break
        found[key] = ending
    return found


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list) and value and all(type(x) in (int, float) for x in value):
        return "x".join(_value(x) for x in value)
    if isinstance(value, Mapping) and "class_path" in value:
        more = "".join(f"_{k}={_value(v)}" for k, v in (value.get("init_args") or {}).items())
        return str(value["class_path"]).rpartition(".")[2] + more
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return re.sub(r"[^\w.+=-]+", "_", text).strip("_") or _checksum(value)


def _cut(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{_checksum(name)}"


def _checksum(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
