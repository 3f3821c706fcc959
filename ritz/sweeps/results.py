"""What the folder of a run tells of its settings and its result, for tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ritz.extras import needs
from ritz.folders.config import CONFIG, domain_of
from ritz.folders.lock import owner_is_alive, read_lock
from ritz.folders.owner import Owner
from ritz.folders.saved import (
    CheckpointError,
    checkpoint_folders,
    newest_checkpoint,
    read_manifest,
)
from ritz.folders.summary import SUMMARY, read_summary
from ritz.sweeps.halving import SETTING, iterations_of
from ritz.sweeps.record import FAILED, FILE, PRUNED, RUNNING

ENERGY = "energy"
"""The entry of a summary to which its `error` and its `relative_error` belong."""
_WITH_ENERGY = ("lattice", "molecule")
"""Domains whose loss is the energy."""
_DEEPEST = 3
"""Levels of folders below a given one in which runs are looked for."""


def runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is that of a run, or else those below it.

    Raises:
        ValueError: If there are none.
    """
    found = list(_runs(folder, _DEEPEST))
    if not found:
        what = "no run in the folder" if folder.is_dir() else "there is no folder"
        if folder.is_file():
            what = "tables are of folders, but this is a file:"
        raise ValueError(f"{what} {folder}; the folder of a run has a {CONFIG} or a {SUMMARY}.")
    return found


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
    elif depth and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and path.name not in ("checkpoints", "set_aside"):
                yield from _runs(path, depth - 1)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, which its configuration, summary or sweep tells."""
    has_files = any((folder / name).is_file() for name in (CONFIG, SUMMARY))
    return has_files or _record(folder).get("state", RUNNING) != RUNNING  # settings come first


def settings_of(run: Path) -> dict[str, Any]:
    """The settings of a run by dotted names, arguments of classes below the name of the class.

    Of a run that has failed before it wrote them, those that its sweep has given it. A run of which
    only a part was done, such as one that was given up, has the iterations of the whole.
    """
    with needs("A table of runs", "cli"):
        import yaml

    command: list[str] = next(iter(_record(run).get("commands", ())), [])
    try:
        content = yaml.safe_load((run / CONFIG).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        pairs = [token.partition("=") for token in command if "=" in token]
        content = {name: yaml.safe_load(value) for name, _, value in pairs}
    found = dict(_flat(content)) if isinstance(content, dict) else {}
    whole, part = iterations_of(command), found.get(SETTING)
    is_part = whole is not None and isinstance(part, int) and part < whole
    return found | ({SETTING: whole} if is_part else {})


def _record(run: Path) -> dict[str, Any]:
    """What a sweep has noted of a run; empty if none has."""
    try:
        found = json.loads((run / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "class_path" in value:
        yield name, str(value["class_path"]).rpartition(".")[2]
        yield from _flat(value.get("init_args") or {}, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{place}")
    elif name:
        yield name, value


def result_of(run: Path) -> dict[str, Any]:
    """The newest result of a run, and how it ended."""
    summary = read_summary(run)
    found = {name: value for name, value in summary.items() if not isinstance(value, dict)}
    place, owner = _owner(run)
    if owner is not None and owner.get("ended") is None:
        goes_on = owner_is_alive(owner, place)
        found.pop("relative_error", None)
        found |= _saved(run)
        return found | {"stop_reason": "KILLED" if goes_on is False else "RUNNING"}
    if "stop_reason" not in found:
        found = _saved(run) | found
    return found | _judged(run)


def _owner(run: Path) -> tuple[Path, Owner | None]:
    """The last owner of a run, and the folder with its lock.

    That is the folder of the run, or that of its checkpoints where `Checkpoint` alone has one.
    """
    owner = read_lock(run)
    if owner is not None:
        return run, owner
    locks = [(place, read_lock(place)) for place in checkpoint_folders(run)]
    return max(
        (lock for lock in locks if lock[1] is not None),
        key=lambda lock: str((lock[1] or {}).get("began")),
        default=(run, None),
    )


def _saved(run: Path) -> dict[str, Any]:
    """Steps, seconds and energy of the newest checkpoint of a run, and how that ended."""
    newest = newest_checkpoint(run)
    if newest is None:
        return {}
    try:
        manifest = read_manifest(newest.path)
    except CheckpointError:
        return {}
    found = {"steps": manifest["step"], "seconds": manifest["elapsed"]}
    loss = manifest.get("loss")
    if loss and domain_of(run) in _WITH_ENERGY:
        found |= {ENERGY: loss["mean"], "error": loss["error"]}
    lock: Any = read_lock(newest.path.parent)
    ended = manifest.get("ended") if lock is None else lock.get("ended")  # there is none in a copy
    if not ended:
        return found
    how = {"stop_reason": ended["reason"], "message": ended.get("message")}
    return found | {"steps": ended.get("step", manifest["step"]), **how}


def _judged(run: Path) -> dict[str, Any]:
    """That a sweep has given up a run, or saw it fail, and why; unless it was worked at since."""
    record = _record(run)
    state = record.get("state")
    summary = run / SUMMARY
    if state not in (FAILED, PRUNED):
        return {}
    if summary.exists() and summary.stat().st_mtime > (run / FILE).stat().st_mtime:
        return {}
    return {"stop_reason": state.upper(), "message": record.get("message")}
