"""Checks configuration files, so that mistakes in them are told by file and key."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from ritz.cli.settings.checks import check_group
from ritz.cli.settings.spelling import normalised
from ritz.cli.settings.yaml_text import read_yaml


def with_checked_files(arguments: Sequence[str], kind: type) -> list[str]:
    """A command line with the content of `--config` files in the place of their names.

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
    """The content of a file, checked, as YAML."""
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ValueError(f"config: {path} cannot be read: {error.strerror}.") from error
    content = normalised({} if content is None else content, kind)
    try:
        check_group(content, kind, (), kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return yaml.safe_dump(content, sort_keys=False)
