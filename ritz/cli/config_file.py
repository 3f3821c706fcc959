"""Checks configuration files, so that mistakes in them are told by file and key."""

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ritz.cli.known_settings import nearest
from ritz.cli.spelling import normalised
from ritz.cli.yaml_text import read_yaml


def with_checked_files(arguments: Sequence[str], kind: type) -> list[str]:
    """A command line with what `--config` files say in the place of their names.

    Args:
        arguments: The command line.
        kind: The dataclass that the files describe.

    Raises:
        ValueError: If a file is no YAML, or has settings that a configuration does not: one line
            with the file, the key and what is allowed.
    """
    found, left = [], list(arguments)
    while left:
        token = left.pop(0)
        if token == "--config" and left:
            token = f"--config={left.pop(0)}"
        if token.startswith("--config="):
            text = _checked(Path(token.partition("=")[2]), kind)
            found += ["--config", text]
        else:
            found.append(token)
    return found


def _checked(path: Path, kind: type) -> str:
    """What a file says, as YAML."""
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ValueError(f"config: {path} cannot be read: {error.strerror}.") from error
    content = normalised({} if content is None else content, kind)
    _check(str(path), content, kind, (), kind)
    return yaml.safe_dump(content, sort_keys=False)


def _check(file: str, content: Any, whole: type, group: tuple[str, ...], kind: type) -> None:
    """Refuse what is no setting.

    Args:
        file: For messages.
        content: What the file says in a group.
        whole: The dataclass that the file describes.
        group: The names of the group and those that it is in.
        kind: The dataclass of the group.
    """
    if not isinstance(content, dict):
        where = ": ".join([file, ".".join(group)] if group else [file])
        raise ValueError(f"{where}: settings are needed here, but {content!r} stands.")
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key, value in content.items():
        name = ".".join([*group, str(key)])
        if key not in known:
            raise ValueError(f"{file}: {name}: there is no such setting{nearest(name, whole)}")
        if dataclasses.is_dataclass(hints[key]):
            _check(file, value, whole, (*group, key), typing.cast(type, hints[key]))
