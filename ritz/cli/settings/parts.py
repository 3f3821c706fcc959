"""Class paths with arguments on the command line and in YAML files."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse.typing import register_type

from ritz.cli.settings.yaml_limits import check_yaml
from ritz.cli.settings.yaml_text import load_yaml
from ritz.types import Settings


class Part:
    """A class or function with arguments, from which an object is made.

    Args:
        class_path: A path such as "optax.adam", or a short name.
        init_args: The arguments; those may be parts too, as dicts.
    """

    def __init__(self, class_path: str, init_args: Mapping[str, object] | None = None):
        self.class_path = class_path
        self.init_args = dict(init_args or {})

    @classmethod
    def parse(cls, value: object) -> "Part":
        """Make a part from YAML, a mapping or a path.

        Raises:
            ValueError: If it is something else.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            check_yaml(value, "the value")
            value = load_yaml(value)
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and set(value) <= {"class_path", "init_args"}:
            arguments = value.get("init_args") or {}
            if isinstance(value.get("class_path"), str) and isinstance(arguments, Mapping):
                return cls(value["class_path"], arguments)
        raise ValueError(
            f"{value!r} was given, but the name of a class or function is needed, or a mapping "
            "with class_path and init_args"
        )

    def as_dict(self) -> Settings:
        """A mapping with `class_path`, and `init_args` if there are any, as in YAML."""
        found: Settings = {"class_path": self.class_path}
        if self.init_args:
            found["init_args"] = self.init_args
        return found

    def with_argument(self, path: Sequence[str], value: object) -> "Part":
        """A copy with one argument changed; `path` leads through nested parts."""
        arguments = dict(self.init_args)
        head, *rest = [p for p in path if p != "init_args"]
        if rest:
            inner = Part.parse(arguments[head]) if head in arguments else None
            if inner is None:
                raise ValueError(f"{head} is not set, so {'.'.join(rest)} of it cannot be")
            value = inner.with_argument(rest, value).as_dict()
        arguments[head] = value
        return Part(self.class_path, arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.init_args.items())
        return f"{self.class_path}({arguments})"


register_type(Part, serializer=Part.as_dict, deserializer=Part.parse)


def part_fields(kind: type, prefix: str = "") -> dict[str, bool]:
    """The dotted names of the fields of a configuration that are parts; True for lists of them."""
    found: dict[str, bool] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hint):
            found |= part_fields(typing.cast(type, hint), f"{name}.")
        else:
            kinds = {hint, *typing.get_args(hint)}
            if Part in kinds or list[Part] in kinds:
                found[name] = list[Part] in kinds
    return found


Override = tuple[str, list[str], object]
"""Field, names that lead to the argument in it, and value."""


def split_overrides(
    arguments: Sequence[str], fields: Mapping[str, bool]
) -> tuple[list[str], list[Override]]:
    """Take the settings that change arguments of parts out of a command line.

    `a.b=value` without dashes becomes `--a.b=value`.

    Args:
        arguments: The command line.
        fields: From `part_fields`.
    """
    rest: list[str] = []
    overrides: list[Override] = []
    waiting = list(arguments)
    while waiting:
        token = waiting.pop(0)
        name, equals, value = token.lstrip("-").partition("=")
        is_setting = bool(equals) and name.replace(".", "").replace("_", "").isalnum()
        if not token.startswith("-") and not is_setting:
            rest.append(token)
            continue
        owner = next((f for f in fields if name.startswith(f"{f}.")), None)
        if owner is None:
            rest.append(f"--{token}" if not token.startswith("-") else token)
            continue
        if not equals:
            if not waiting:
                raise ValueError(f"{name}: a value is missing; write it as {name}=VALUE.")
            value = waiting.pop(0)
        way = name[len(owner) + 1 :].split(".")
        if "" in way:
            raise ValueError(
                f"{name}: a word is missing before or behind a dot; arguments are written as "
                f"{owner}.ARGUMENT=VALUE."
            )
        overrides.append((owner, way, yaml_value(name, value)))
    return rest, overrides


def yaml_value(name: str, text: str) -> Any:
    """The value of a setting, from its text as YAML.

    Raises:
        ValueError: If it is no YAML: one line that names the setting.
    """
    check_yaml(text, name)
    try:
        return load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} {error}") from error


def overridden(
    name: str, value: Any, way: Sequence[str], new: object, is_list: bool
) -> Part | list[Part]:
    """A part, or a list of them, with one argument changed.

    Raises:
        ValueError: If there is no such part.
    """
    try:
        if value is None:
            raise ValueError(f"{name} is not set; give its class path first, as {name}=CLASS")
        if not is_list:
            return value.with_argument(way, new)
        parts = list(value)
        place = int(way[0]) if way[0].isdigit() else len(parts)
        if place >= len(parts) or len(way) < 2:
            raise ValueError(f"{name} has {len(parts)} entries, counted from 0")
        parts[place] = parts[place].with_argument(way[1:], new)
        return parts
    except ValueError as error:
        raise ValueError(f"{'.'.join([name, *way])}: {error}.") from error
