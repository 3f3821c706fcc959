"""Who worked at a run: commands, machine and versions, from its locks and checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ritz.folders.lock import read_lock
from ritz.folders.saved import CheckpointError, checkpoint_folders, newest_checkpoint, read_manifest

_FIELDS = ("platform", "processes", "devices", "device kind")
"""Entries of a manifest that tell of the machine."""
_LABELS = {"machine": "architecture"}


def commands_of(folder: Path) -> list[str]:
    """The last commands in a run folder and at its checkpoints, the oldest first."""
    commands = [str(owner["command"]) for owner in _owners(folder) if owner.get("command")]
    return list(dict.fromkeys(commands))


def machine_of(folder: Path) -> dict[str, str]:
    """Host of the last process, and devices and versions of the newest checkpoint, by name."""
    hosts = [str(owner["host"]) for owner in _owners(folder) if owner.get("host")]
    found = {"host": hosts[-1]} if hosts else {}
    newest = newest_checkpoint(folder)
    if newest is None:
        return found
    try:
        manifest = read_manifest(newest.path)
    except CheckpointError:
        return found
    found |= {name: str(manifest[name]) for name in _FIELDS if name in manifest}
    versions: Mapping[str, Any] = manifest.get("versions") or {}
    return found | {_LABELS.get(name, name): str(value) for name, value in versions.items()}


def _owners(folder: Path) -> list[Mapping[str, Any]]:
    """Processes that worked in a folder, or in that of which it is a copy, the oldest first."""
    places = checkpoint_folders(folder)
    owners = [owner for place in places if (owner := read_lock(place, copied=True)) is not None]
    return sorted(owners, key=lambda owner: str(owner.get("began")))
