"""One spelling for settings, however they were typed.

Names may have dashes in the place of underscores, on the command line and in files, and whole
numbers may be written as 1e5.
"""

import dataclasses
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SETTING = re.compile(r"[A-Za-z][\w.-]*=")
"""How a setting without leading dashes begins."""
FLAGS = ("anew", "dry_run", "distributed", "print_config", "help")
"""Options behind which no value follows."""


def underscored(arguments: Sequence[str], bare: bool) -> list[str]:
    """A command line with `_` for `-` in the names of settings.

    Args:
        arguments: The command line.
        bare: Whether settings may come without leading dashes, as `a.b=1`.
    """
    found: list[str] = []
    awaits_value = False
    for token in arguments:
        name, equals, value = token.partition("=")
        option = token.startswith("--")
        setting = bare and not awaits_value and SETTING.match(token)
        if option or setting:
            start = 2 if option else 0
            name = name[:start] + name[start:].replace("-", "_")
        found.append(name + equals + value)
        awaits_value = option and not equals and name[2:] not in FLAGS
    return found


def spelt_out(arguments: Sequence[str], kind: type) -> list[str]:
    """A command line with `a.b=c` for `a=c`, where a is a group that stands for its setting b.

    Such a group has the name of that setting as its class attribute `shorthand`. Mappings, which
    have the settings of the whole group, and files stay as they are.

    Args:
        arguments: The command line.
        kind: The configuration.
    """
    hints = typing.get_type_hints(kind)
    shorthands = {name: getattr(hint, "shorthand", None) for name, hint in hints.items()}
    found: list[str] = []
    for token in arguments:
        name, equals, value = token.partition("=")
        meant = shorthands.get(name.lstrip("-"))
        if equals and meant is not None and not (value.startswith("{") or os.path.isfile(value)):
            name = f"{name}.{meant}"
        found.append(f"{name}{equals}{value}")
    return found


def normalised(content: object, kind: type) -> Any:
    """The content of a file, with underscores in the names of settings and arguments.

    Args:
        content: From YAML.
        kind: The dataclass that it describes.
    """
    if not isinstance(content, Mapping):
        return content
    hints = typing.get_type_hints(kind)
    found = {}
    for key, value in content.items():
        name = key.replace("-", "_") if isinstance(key, str) else key
        hint = hints.get(name)
        if dataclasses.is_dataclass(hint):
            meant = getattr(hint, "shorthand", None)
            if meant is not None and isinstance(value, str):
                value = {meant: value}
            value = normalised(value, typing.cast(type, hint))
        else:
            value = exact(_with_arguments(value), hint)
        found[name] = value
    return found


def _with_arguments(value: object) -> Any:
    """A value with underscores in the names of arguments of class paths, also of nested ones."""
    if isinstance(value, list):
        return [_with_arguments(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    named = {k.replace("-", "_") if isinstance(k, str) else k: v for k, v in value.items()}
    if "class_path" not in named:
        return value
    arguments = named.get("init_args")
    if isinstance(arguments, Mapping):
        named["init_args"] = {
            k.replace("-", "_") if isinstance(k, str) else k: _with_arguments(v)
            for k, v in arguments.items()
        }
    return named


def exact(value: object, hint: Any) -> Any:
    """A float without a fraction, such as 1e5, as an int where the setting takes an int."""
    if isinstance(value, float) and value.is_integer() and _needs_int(hint):
        return int(value)
    return value


def whole_numbers(arguments: Sequence[str], kind: type) -> list[str]:
    """A command line with 100000 for 1e5 behind the names of whole numbers."""
    hints = dict(dotted_hints(kind))
    found: list[str] = []
    for token in arguments:
        name, equals, value = token.partition("=")
        if equals and _needs_int(hints.get(name.lstrip("-"))):
            value = _exact_text(value)
        elif found and found[-1].startswith("--") and _needs_int(hints.get(found[-1][2:])):
            name = _exact_text(token)
        found.append(name + equals + value)
    return found


def _exact_text(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if "e" in text.lower() and number.is_integer() else text


def dotted_hints(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted names of all settings of a configuration, with their annotations."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from dotted_hints(typing.cast(type, hint), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", hint


def _needs_int(hint: Any) -> bool:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    return int in kinds and not {float, complex, str} & set(kinds)
