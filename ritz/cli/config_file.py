"""Checks configuration files, so that mistakes in them are told by file and key."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

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
    _check(f"{path}: ", content, kind)
    return yaml.safe_dump(content, sort_keys=False)


def _check(name: str, content: Any, kind: type) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{name.rstrip('.: ')}: settings are needed here, but {content!r} stands.")
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"{name}{key}: there is no such setting{nearest(str(key), known)}")
        if dataclasses.is_dataclass(hints[key]):
            _check(f"{name}{key}.", value, typing.cast(type, hints[key]))


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: which names are nearly `name`, or all that there are."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(known)}."
