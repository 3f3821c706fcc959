"""YAML as people write numbers in it."""

import re
from typing import Any

import yaml


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
    """What a YAML document says.

    Raises:
        ValueError: If it is none: one line, to be put behind the name of what was read.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # such as the date 2026-13-45
        raise ValueError(f"is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ValueError("is no YAML: it is nested too deeply") from None
