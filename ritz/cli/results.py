"""What `summary.json` says of a run, besides its numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ritz.folders.lock import read_lock
from ritz.folders.saved import CheckpointError, entries, read_manifest
from ritz.folders.summary import read_summary, write_summary


def facts(checkpoints: Path) -> dict[str, Any]:
    """Steps, seconds and stop reason of the last run with its checkpoints in a folder.

    Returns:
        `steps` (updates that were applied), `seconds` (since the first row), `stop_reason` (a name
        of `StopReason`) and `message`; None for what is not known.
    """
    ended = (read_lock(checkpoints) or {}).get("ended") or {}
    saved = entries(checkpoints)
    try:
        manifest = read_manifest(saved[-1].path) if saved else {}
    except CheckpointError:
        manifest = {}
    return {
        "steps": ended.get("step", manifest.get("step")),
        "seconds": manifest.get("elapsed"),
        "stop_reason": ended.get("reason"),
        "message": ended.get("message"),
    }


def saved_loss(checkpoints: Path) -> dict[str, Any]:
    """`energy` and `error` of the last saved step; None for what is not known.

    Where its row was marked, the mark is there as `suspect`.
    """
    saved = entries(checkpoints)
    try:
        loss = read_manifest(saved[-1].path)["loss"] if saved else None
    except CheckpointError:
        loss = None
    loss = loss or {}
    found = {"energy": loss.get("mean"), "error": loss.get("error")}
    return {**found, "suspect": loss["suspect"]} if loss.get("suspect") else found


def longer(setting: str, given: int, most: int, unit: str) -> str:
    """A sentence that says what goes on with a run in which nothing is left to do.

    Args:
        setting: The name of the number of steps.
        given: That number now.
        most: The largest one that the run had.
        unit: What is counted, such as "epochs".
    """
    if given >= most:
        return f"A larger {setting} goes on."
    return (
        f"{setting}={given} is less than the {most} {unit} that the run was given before, so that "
        f"nothing was done: give more than {most} to go on, or another folder to begin anew."
    )


def summarise(folder: Path, command: str, found: Mapping[str, Any], **more: Any) -> None:
    """Put the result of a command into the summary of a run folder.

    Args:
        folder: The run folder.
        command: Its name: the key of its result, which is also at the top as the newest.
        found: Its result.
        **more: What goes beside it.
    """
    before = read_summary(folder)
    others = {k: v for k, v in before.items() if isinstance(v, dict) and k != command}
    kept = {"exact": before["exact"]} if "exact" in before else {}
    top = {"result_of": command, **found, **kept, **more}
    write_summary(folder, {**top, **others, command: dict(found)})
