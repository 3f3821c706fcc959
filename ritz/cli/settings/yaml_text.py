"""YAML as people write numbers in it."""

import re
from pathlib import Path
from typing import Any

import yaml

from ritz.cli.settings.yaml_limits import check_yaml


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, with the numbers of YAML 1.2: `1e-3` is one, without dot or sign."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$
        |[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)$
        |[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


def load_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        ValueError: If it is no YAML: one line, to be put behind the name of the document.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # such as the date 2026-13-45
        raise ValueError(f"is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ValueError("is no YAML: it is nested too deeply") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no text, no YAML, or beyond the limits: one line that names it.
    """
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    check_yaml(text, str(path))
    try:
        return load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
