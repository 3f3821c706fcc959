"""Docstrings of configurations, made of those of the library's own classes."""

import inspect
import re
from collections.abc import Mapping

_ENTRY = re.compile(r"    (\w+): (.*)")
_IN_YAML = {"None": "null", "True": "true", "False": "false"}


def descriptions(kind: type) -> dict[str, str]:
    """What a class's docstring says of each argument, with values as YAML writes them.

    Args:
        kind: The class, with a docstring in Google's form.
    """
    lines = iter((inspect.getdoc(kind) or "").splitlines())
    found: dict[str, str] = {}
    name = ""
    for _ in iter(lambda: next(lines, "Args:"), "Args:"):
        pass
    for line in lines:
        if not line.startswith("    "):
            break
        if entry := _ENTRY.match(line):
            name = entry[1]
            found[name] = entry[2]
        else:
            found[name] += f" {line.strip()}"
    words = rf"\b({'|'.join(_IN_YAML)})\b"
    return {n: re.sub(words, lambda m: _IN_YAML[m[1]], text) for n, text in found.items()}


def docstring(headline: str, arguments: Mapping[str, str]) -> str:
    """A docstring in Google's form.

    Args:
        headline: Its first line.
        arguments: What is said of each argument.
    """
    entries = "\n".join(f"    {name}: {text}" for name, text in arguments.items())
    return f"{headline}\n\nArgs:\n{entries}\n"
