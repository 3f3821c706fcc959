"""Checks names and values of settings before they are parsed, so that messages suit the key."""

import dataclasses
import os
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ritz.cli.settings.parts import part_fields, yaml_value
from ritz.cli.settings.spelling import dotted_hints
from ritz.cli.settings.suggestions import Configuration, close_to, groups, nearest, owner
from ritz.types import Settings

_PART = ("class_path", "init_args")
_LONGEST = 200
"""Characters of a value that are repeated in a message."""


def check_arguments(arguments: Sequence[str], kind: type[Configuration]) -> None:
    """Refuse values given for whole groups of settings, and class paths of a wrong form.

    Args:
        arguments: The command line, where settings have leading dashes.
        kind: The `Configuration`.

    Raises:
        ValueError: One line that names the setting, what was given, and what is allowed.
    """
    parts, known_groups = part_fields(kind), groups(kind)
    for place, token in enumerate(arguments):
        name, equals, text = token.partition("=")
        if not name.startswith("--"):
            continue
        name = name[2:]
        if not equals:
            text = arguments[place + 1] if place + 1 < len(arguments) else ""
        if name in parts:
            check_part(name, yaml_value(name, text), kind)
        elif name in known_groups and not os.path.isfile(text):
            value = yaml_value(name, text)
            if not isinstance(value, Mapping):
                raise ValueError(_no_group(name, _shown(text), kind, as_argument=True))
            hints = typing.get_type_hints(kind)
            check_group(value, kind, (name,), hints[name])


def check_names(arguments: Sequence[str], kind: type[Configuration]) -> None:
    """Refuse names of settings with a dot that has no word on one of its sides.

    Raises:
        ValueError: One line that names the setting.
    """
    for token in arguments:
        name, equals, value = token.lstrip("-").partition("=")
        named = token.startswith("--") or equals
        if named and re.fullmatch(r"[\w.]+", name):
            _check_gaps(name, kind, value or "...")


def _check_gaps(name: str, kind: type[Configuration], value: str) -> None:
    words = [word for word in name.split(".") if word]
    whole = ".".join(words)
    if whole == name or any(name.startswith(f"{part}.") for part in part_fields(kind)):
        return  # arguments of class paths are looked at where these are changed
    if whole in groups(kind):
        example = _in_line(whole, kind)
        advice = f"; {whole} is a group of settings: name one of them, such as {example}."
    elif owner(whole, kind) is not None:
        advice = f"; write {whole}={value}."
    else:
        advice = nearest(whole, kind)
    raise ValueError(f"{name}: a word is missing before or behind a dot{advice}")


def check_group(
    content: object, whole: type[Configuration], group: tuple[str, ...], kind: type
) -> None:
    """Refuse keys that are no settings, and class paths of a wrong form.

    Args:
        content: The content of the group, from YAML.
        whole: The `Configuration`.
        group: The names of the outer groups and of this one.
        kind: The dataclass of the group.

    Raises:
        ValueError: One line that names the key.
    """
    if not isinstance(content, Mapping):
        raise ValueError(_no_group(".".join(group), _shown(content), whole, as_argument=False))
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    parts = part_fields(whole)
    for key, value in content.items():
        name = ".".join([*group, str(key)])
        if key not in known:
            raise ValueError(f"{name}: {_unknown(name, str(key), value, whole)}")
        if dataclasses.is_dataclass(hints[key]):
            check_group(value, whole, (*group, key), typing.cast(type, hints[key]))
        elif name in parts:
            check_part(name, value, whole)


def _unknown(name: str, key: str, value: object, whole: type[Configuration]) -> str:
    """The message about a key of a file that is no setting."""
    if "." not in key:
        return f"there is no such setting{nearest(name, whole)}"
    known = ".".join(word for word in name.split(".") if word)
    setting = owner(known, whole)
    if setting is None and known not in groups(whole):
        return f"there is no such setting{nearest(known, whole)}"
    text = _shortened(_flow(_nested(known, setting or known, value, whole))[1:-1])
    return f"names have no dots in YAML, where settings are nested; write {text}."


def _nested(name: str, setting: str, value: Any, whole: type[Configuration]) -> Any:
    """A value in the groups that a dotted name says, and among the arguments of a class path."""
    rest = [word for word in name[len(setting) :].split(".") if word not in ("", "init_args")]
    is_list = part_fields(whole).get(setting, False)
    arguments = [word for word in rest if not (is_list and word.isdigit())]
    if arguments and arguments != ["class_path"]:
        for word in reversed(arguments):
            value = {word: value}
        value = _with_class(_example(setting, whole), value)
    value = [value] if is_list and rest else value
    for word in reversed(setting.split(".")):
        value = {word: value}
    return value


def check_part(name: str, value: object, kind: type[Configuration]) -> None:
    """Refuse values that are no class path, with or without arguments, or no list of these.

    Args:
        name: Of the setting.
        value: From YAML.
        kind: The `Configuration`.

    Raises:
        ValueError: One line with an example for this setting.
    """
    is_list = part_fields(kind)[name]
    if value is None and type(None) in typing.get_args(dict(dotted_hints(kind))[name]):
        return
    example = _example(name, kind)
    if not is_list:
        _check_class(name, value, example)
        return
    if not isinstance(value, list):
        entry = value if isinstance(value, str) else example
        if isinstance(value, Mapping):
            entry = value if "class_path" in value else _with_class(example, value)
        right = _shortened(_flow([entry]))
        raise ValueError(
            f"{name}: {_shown(value)} was given, but a list is needed, such as {right}."
        )
    for place, entry in enumerate(value):
        _check_class(f"{name}.{place}", entry, example)


def _check_class(name: str, value: object, example: str) -> None:
    if isinstance(value, str) and value:
        return
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name}: {_shown(value)} was given, but the name of a class or function is needed, "
            f"such as {example}, or with arguments {{class_path: {example}, init_args: {{...}}}}."
        )
    others = {str(key): entry for key, entry in value.items() if key not in _PART}
    for key in others:
        near = close_to(key, _PART)
        if near and near[0] not in value:
            raise ValueError(f"{name}.{key}: there is no such key; did you mean {near[0]}?")
    arguments = value.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(
            f"{name}.init_args: {_shown(arguments)} was given, but names with values are needed, "
            "such as {name: value}."
        )
    path = value.get("class_path")
    right = _with_class(path or example, {**arguments, **others})
    if "class_path" not in value:
        raise ValueError(
            f"{name}: class_path is missing beside {', '.join(map(str, value)) or 'nothing else'}; "
            f"write, for example, {_shortened(_flow(right))}."
        )
    if not isinstance(path, str) or not path:
        raise ValueError(
            f"{name}.class_path: {_shown(path)} was given, but a name is needed, such as {example}."
        )
    if others:
        raise ValueError(
            f"{name}: {next(iter(others))} stands beside class_path, but arguments go into "
            f"init_args; write {_shortened(_flow(right))}."
        )


def _with_class(path: Any, arguments: Mapping[str, object]) -> Settings:
    return {"class_path": path, "init_args": dict(arguments)}


def _example(name: str, kind: type[Configuration]) -> str:
    return kind.examples[name.rpartition(".")[2]]


def _in_line(group: str, kind: type[Configuration]) -> str:
    """A setting of a group, as the command line has it."""
    return f"{group}.{_example(group, kind)}"


def _no_group(group: str, given: str, kind: type[Configuration], as_argument: bool) -> str:
    """The message about a value given for a group of settings, or for a whole file."""
    if not group:
        example = "seed: 0" if hasattr(kind, "seed") else "folder: runs/a"
        return f"settings with their values are needed, such as {example}, but {given} was given."
    setting, _, value = _example(group, kind).partition("=")
    example = _in_line(group, kind) if as_argument else f"{group}: {{{setting}: {value}}}"
    return (
        f"{group}: {given} was given, but {group} is a group of settings; give one of them, such "
        f"as {example}."
    )


def _shown(value: object) -> str:
    return "nothing" if value is None else _shortened(" ".join(repr(value).split()))


def _flow(value: object) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return " ".join(text.removesuffix("...\n").split())


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
