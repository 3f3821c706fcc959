"""Steps, seconds, stop reason and loss of a saved run, for `summary.json`."""

import contextlib
from pathlib import Path

from ritz.driver.kernel import TAKEN_BACK
from ritz.folders.lock import read_lock
from ritz.folders.saved import CheckpointError, entries, read_manifest
from ritz.types import Settings


def _newest_manifest(checkpoints: Path) -> Settings:
    """The manifest of the newest checkpoint in a folder; empty if none can be read."""
    saved = entries(checkpoints)
    with contextlib.suppress(CheckpointError):
        return read_manifest(saved[-1].path) if saved else {}
    return {}


def asked_for(checkpoints: Path) -> int:
    """Number of steps that the run with its checkpoints in a folder was to take.

    It needs no other process; 0 if it is not known.
    """
    manifest = _newest_manifest(checkpoints)
    return manifest["target"] - manifest["began"] if manifest else 0


def facts(checkpoints: Path) -> Settings:
    """Steps, seconds and stop reason of the last run with its checkpoints in a folder.

    Returns:
        `steps` (updates that were applied), `seconds` (since the first row), `stop_reason` (a name
        of `StopReason`) and `message`; None for what is not known.
    """
    ended = (read_lock(checkpoints) or {}).get("ended") or {}
    manifest = _newest_manifest(checkpoints)
    return {
        "steps": ended.get("step", manifest.get("step")),
        "seconds": manifest.get("elapsed"),
        "stop_reason": ended.get("reason"),
        "message": ended.get("message"),
    }


def saved_loss(checkpoints: Path, name: str = "energy") -> Settings:
    """The loss and its `error` of the last saved step; None for what is not known.

    Where its row was marked, the mark is there as `suspect`. The loss of a step that was taken back
    is that of no state, and counts as not known.

    Args:
        checkpoints: The folder of the checkpoints.
        name: What the loss is called.
    """
    loss = _newest_manifest(checkpoints).get("loss") or {}
    if TAKEN_BACK in str(loss.get("suspect")).split(", "):
        loss = {"suspect": loss["suspect"]}
    found = {name: loss.get("mean"), "error": loss.get("error")}
    return {**found, "suspect": loss["suspect"]} if loss.get("suspect") else found
