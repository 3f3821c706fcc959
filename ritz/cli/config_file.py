"""Checks configuration files, so that mistakes in them are told by file and key."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ritz.cli.yaml_limits import check_yaml


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files that a command line gives as `--config`."""
    found = []
    for place, token in enumerate(arguments):
        if token == "--config" and place + 1 < len(arguments):
            found.append(Path(arguments[place + 1]))
        elif token.startswith("--config="):
            found.append(Path(token.partition("=")[2]))
    return found


def check_file(path: Path, kind: type) -> None:
    """Refuse a file that is no YAML, or has settings that a configuration does not.

    Args:
        path: The file.
        kind: The dataclass that it describes.

    Raises:
        ValueError: One line with the file, the key and what is allowed.
    """
    try:
        text = path.read_text()
        check_yaml(text, str(path))
        content = yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"config: {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    _check(f"{path}: ", content or {}, kind)


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
