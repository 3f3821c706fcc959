"""Command lines on which files stand without the name of their setting."""

import json
from collections.abc import Sequence
from pathlib import Path

from ritz.cli.settings.spelling import FLAGS, SETTING, dotted_hints, underscored
from ritz.cli.settings.suggestions import Configuration, owner
from ritz.cli.settings.yaml_text import load_yaml


def with_named_files(
    arguments: Sequence[str], kind: type[Configuration], setting: str
) -> list[str]:
    """A command line with one spelling of names, and with files under the name of their setting.

    A setting that is true or false may be given by its name alone, as `--cell`.

    Args:
        arguments: The command line.
        kind: The `Configuration`.
        setting: The name of the setting.
    """
    options, files = _parted(_with_values(arguments, kind), kind)
    found = []
    for token in underscored(options, bare=True):
        name, _, text = token.partition("=")
        is_list = name.lstrip("-") == setting and "=" in token
        found.append(f"--{setting}={_as_list(text)}" if is_list else token)
    return [*found, f"--{setting}={json.dumps(files)}"] if files else found


def _with_values(arguments: Sequence[str], kind: type[Configuration]) -> list[str]:
    """A command line with `--name=true` for `--name`, and `--name=false` for `--name false`."""
    flags = [name for name, hint in dotted_hints(kind) if hint is bool]

    def is_bare(token: str) -> bool:
        return token.startswith("--") and token[2:].replace("-", "_") in flags

    found: list[str] = []
    for token in arguments:
        if found and is_bare(found[-1]):
            takes_it = token in ("true", "false")
            found[-1] += f"={token}" if takes_it else "=true"
            if takes_it:
                continue
        found.append(token)
    if found and is_bare(found[-1]):
        found[-1] += "=true"
    return found


def _parted(arguments: Sequence[str], kind: type[Configuration]) -> tuple[list[str], list[str]]:
    """Splits a command line into options and settings with their values, and files."""
    options: list[str] = []
    files: list[str] = []
    awaits_value = False
    for token in arguments:
        named = token.startswith("-") or _is_setting(token, kind)
        (options if named or awaits_value else files).append(token)
        is_open = token.startswith("--") and "=" not in token
        awaits_value = is_open and token[2:].replace("-", "_") not in FLAGS
    return options, files


def _is_setting(token: str, kind: type[Configuration]) -> bool:
    """Whether an argument such as a=b is a setting, and no file."""
    if not SETTING.match(token):
        return False
    name = token.partition("=")[0].replace("-", "_")
    return owner(name, kind) is not None or not Path(token).exists()


def _as_list(text: str) -> str:
    """Files as a list of YAML: one of them, or [a, b], in which YAML would misread a pattern."""
    if not (text.startswith("[") and text.endswith("]")):
        return json.dumps([text])
    try:
        load_yaml(text)
    except ValueError:
        return json.dumps([name.strip() for name in text[1:-1].split(",")])
    return text
