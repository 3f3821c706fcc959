"""The configuration in a run folder, with its checksum and domain."""

import re
import zlib
from pathlib import Path

CONFIG = "config.yaml"
"""File of a run folder with the resolved configuration of its last command."""

_SIGNED = re.compile(rb"# Written by ritz(?: (\w+))?; checksum ([0-9a-f]{8})\.\n")
_LONGEST_HEAD = 200


def signed(content: bytes, domain: str) -> bytes:
    """The content of a configuration file.

    Args:
        content: YAML.
        domain: The domain, such as "lattice"; empty if there is none.
    """
    who = f"ritz {domain}".rstrip()
    return f"# Written by {who}; checksum {zlib.crc32(content):08x}.\n".encode() + content


def is_intact(content: bytes) -> bool:
    """Whether the content of a configuration file is unchanged since it was written."""
    head = _SIGNED.match(content)
    if head is None:
        return False
    return signed(content[head.end() :], (head[1] or b"").decode()) == content


def domain_of(folder: str | Path) -> str | None:
    """The domain of a run folder; None if unknown."""
    try:
        with open(Path(folder) / CONFIG, "rb") as file:
            head = _SIGNED.match(file.read(_LONGEST_HEAD))
    except OSError:
        return None
    return None if head is None or head[1] is None else head[1].decode()
