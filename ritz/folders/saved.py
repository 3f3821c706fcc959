"""The checkpoints in a folder, and their manifests."""

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ritz.types import State

MANIFEST = "manifest"
"""Folder of a checkpoint with the data that are kept as JSON."""

_NAME = re.compile(r"(\d+)(-end)?")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or does not fit the run that asks for it.

    Args:
        told: What is wrong, in sentences.
        accept: What `accept_changes` must name for the run to go on all the same; empty if that
            does not help.
        differences: What differs from the saved run, a phrase each, if it is another run.
        place: Where `accept_changes` is given, for the message.
    """

    def __init__(
        self,
        told: str,
        accept: Sequence[str] = (),
        differences: Sequence[str] = (),
        place: str = "to Checkpoint",
    ):
        self.told, self.accept, self.differences = told, list(accept), list(differences)
        hint = f" To go on all the same, give accept_changes={self.accept} {place}."
        super().__init__(told + hint * bool(self.accept))


class Entry(NamedTuple):
    """A checkpoint on disk; they sort by age."""

    step: int
    """Number of updates that had been applied."""
    end: bool
    """Whether a run ended here."""
    path: Path


def entries(folder: Path) -> list[Entry]:
    """The complete checkpoints in a folder, the oldest first."""
    found = []
    if folder.is_dir():
        for inner in folder.iterdir():
            match = _NAME.fullmatch(inner.name)
            if match and inner.is_dir():
                found.append(Entry(int(match[1]), match[2] is not None, inner))
    return sorted(found)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Folders below that of a run in which checkpoints may be, and that folder itself.

    They are those of its stages, of the stages of a pipeline or of several runs, or right there.
    """
    patterns = ("checkpoints", "checkpoints/*", "*/checkpoints", "*/checkpoints/*")
    found = [path for pattern in patterns for path in folder.glob(pattern) if path.is_dir()]
    return [*found, folder]


def newest_checkpoint(folder: Path) -> Entry | None:
    """The checkpoint of a run that was written last, of any of its stages; None without one."""
    saved = [entries(place)[-1:] for place in checkpoint_folders(folder)]
    return max((e for last in saved for e in last), key=_written, default=None)


def _written(entry: Entry) -> float:
    """When a checkpoint was written; before all others if a live run has deleted it meanwhile."""
    try:
        return entry.path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def read_manifest(path: Path) -> State:
    """Read the manifest of a checkpoint, without its arrays.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    file = path / MANIFEST / "metadata"
    try:
        return verified(json.loads(file.read_text()))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged") from error


def verified(signed: State) -> State:
    """The manifest behind its checksum.

    Raises:
        ValueError: If it was changed.
    """
    if signed["checksum"] != manifest_checksum(signed["body"]):
        raise ValueError("the checksum of the manifest is wrong")
    return signed["body"]


def manifest_checksum(manifest: State) -> int:
    """The checksum that is written with a manifest."""
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
