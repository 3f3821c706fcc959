"""Show how far runs are: step, loss and other numbers, time left and last checkpoint."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ritz.cli.domains import texts, view_of
from ritz.cli.stage_numbers import LoggedRow, clock_and_loss, newest_row, numbers, result_text
from ritz.cli.watching import watch
from ritz.folders.columns import READERS
from ritz.folders.config import domain_of
from ritz.folders.lock import owner_is_alive, read_lock
from ritz.folders.saved import (
    CheckpointError,
    Entry,
    checkpoint_folders,
    entries,
    read_manifest,
)
from ritz.folders.view import RunView
from ritz.types import Settings

_EVERY = 2.0
"""Seconds between two looks at runs that are watched."""
_ATTEMPTS = 5
"""Number of times that a folder is looked at whose files vanish, as a live run deletes some."""
_PAUSE = 0.1
"""Seconds between two attempts."""
_DIVERGED = "DIVERGED"
_FINAL = ("STOPPED", _DIVERGED)
"""The reasons of runs that the same command does not prolong; they may end within a step, whose
row is in the log."""
_OVER = (*_FINAL, "FINISHED")
"""The reasons of runs for which no time is left to be told."""

Result = TypeVar("Result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz status` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument(
        "--watch", action="store_true", help="show it again and again, until no run goes on"
    )


def run(options: argparse.Namespace) -> int:
    """Print a few lines for each run.

    Returns:
        The exit status: 2 if one of the folders holds no run, which is said on stderr.
    """
    status, known = 0, []
    for folder in map(Path, options.runs):
        try:
            known.append((folder, _steady(lambda folder=folder: describe_run(folder))))
        except (ValueError, OSError) as error:
            sys.stderr.write(f"ritz: {error}\n")
            status = 2
    if options.watch and known:
        watch(lambda: _present([folder for folder, _ in known]), _EVERY)
    else:
        sys.stdout.write("\n".join(text for _, text in known))
    return status


def _present(folders: Sequence[Path]) -> tuple[str, bool]:
    """The lines of all runs, and whether any of them goes on."""
    changes = _steady(
        lambda: any(_goes_on(path) for folder in folders for path in checkpoint_folders(folder))
    )
    return "\n".join(map(_lines_of, folders)), changes


def _lines_of(folder: Path) -> str:
    """The lines of a run that is watched; what is wrong with its folder, if anything is."""
    try:
        return _steady(lambda: describe_run(folder))
    except (ValueError, OSError) as error:
        return f"{folder}\n  {'not readable':<17} {error}\n"


def _steady(look: Callable[[], Result]) -> Result:
    """What `look` returns, at the next attempt if files vanish meanwhile.

    Raises:
        OSError: If no attempt succeeds.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return look()
        except OSError:
            time.sleep(_PAUSE)
    return look()


def _goes_on(path: Path) -> bool:
    owner = read_lock(path)
    return owner is not None and owner_is_alive(owner, path) is not False


def describe_run(folder: Path) -> str:
    """What is known of the run in `folder`, as lines of text.

    Raises:
        ValueError: If it is no run folder.
        OSError: If it cannot be read, or a live run deletes a checkpoint meanwhile.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no run folder {folder}.")
    beside = [path for path in folder.iterdir() if path.is_dir()]  # such as a/run_checkpoints
    places = dict.fromkeys([*checkpoint_folders(folder), *beside])
    stages = [path for path in places if _is_stage(path)]
    stages.sort(key=lambda path: (_run_of(folder, path), _began(path)))
    if not stages:
        raise ValueError(
            f"{folder} has no checkpoints; `ritz status` knows folders of "
            f"{', '.join(f'`ritz {name}`' for name in texts())}, of work stages, and of "
            "`Checkpoint`."
        )
    lines = [str(folder)]
    for path in stages:
        lines += _stage_lines(folder, path)
    return "\n".join(lines) + "\n"


def _is_stage(path: Path) -> bool:
    """Whether a run keeps its checkpoints here; its first one may be still to come."""
    holds_runs = (path / "checkpoints").is_dir()
    return bool(entries(path)) or (read_lock(path) is not None and not holds_runs)


def _began(path: Path) -> float:
    saved = entries(path)
    return (saved[0].path if saved else path).stat().st_mtime


def _stage_lines(folder: Path, path: Path) -> list[str]:
    owner = read_lock(path)
    alive = owner is not None and owner_is_alive(owner, path)
    lines = [f"  {_name(folder, path)}"]
    saved = entries(path)
    entry, manifest, damage = _newest_readable(saved)
    ended = owner["ended"] if owner is not None and alive is False else None
    if entry is None:
        return [
            *lines,
            f"    {_state(ended, owner, alive)}",
            *(damage or ["    no checkpoint yet"]),
        ]
    view, logs = _view(path), _logs(path, manifest)
    row = newest_row(logs)
    if alive is False:
        ended = ended or _end_in_manifest(manifest, row)
    step = _steps_taken(manifest, row, ended)
    target = manifest["target"]
    clock, loss = clock_and_loss(logs, row, manifest, view)
    loss = result_text(path, manifest, view, step) or loss
    lines.append(f"    step            {step}" + f" of {target}" * view.has_target)
    lines += [f"    {line}" for line in (loss, *numbers(logs, row, manifest, view)) if line]
    lines.append(f"    {_state(ended, owner, alive)}")
    over = not view.has_target or (ended is not None and ended["reason"] in _OVER)
    if step < target and not over and clock is not None and step > manifest["began"]:
        left = (target - step) * clock / (step - manifest["began"])
        lines.append(
            f"    time left       {_duration(left)}{'' if alive else ' (when it goes on)'}"
        )
    age = time.time() - entry.path.stat().st_mtime
    lines.append(
        f"    last checkpoint step {entry.step}, {_duration(age)} ago ({manifest['saved']})"
    )
    return [*lines, *damage]


def _newest_readable(saved: list[Entry]) -> tuple[Entry | None, Settings, list[str]]:
    """The newest checkpoint that can be read, and lines that tell of newer ones."""
    lines: list[str] = []
    for entry in reversed(saved):
        try:
            return entry, read_manifest(entry.path), lines
        except CheckpointError as error:
            if not entry.path.exists():
                raise FileNotFoundError(f"{entry.path} was deleted meanwhile") from error
            advice = "the same command goes on from an older one"
            if entry is saved[0]:
                advice = f"no older one is left: move {entry.path.parent} away to begin anew"
            lines.append(f"    {'damaged':<15} checkpoint of step {entry.step}: {error}; {advice}")
    return None, {}, lines


def _end_in_manifest(manifest: Settings, row: LoggedRow | None) -> Settings | None:
    """How the run ended that wrote a checkpoint, unless it went on since, as its rows tell."""
    ended, step = manifest["ended"], manifest["step"]
    if ended is None:
        return None
    last_row = step if ended["reason"] in _FINAL else step - 1  # that of a step without an update
    return {**ended, "step": step} if row is None or row[0] <= last_row else None


def _steps_taken(manifest: Settings, row: LoggedRow | None, ended: Settings | None) -> int:
    """Updates that were applied; while a run goes on, each row has had one."""
    if ended is not None:
        return ended["step"]
    return manifest["step"] if row is None else max(manifest["step"], row[0] + 1)


def _name(folder: Path, path: Path) -> str:
    """A stage's name: the way to its checkpoints, or else what the run's folder is called."""
    parts = [part for part in path.relative_to(folder).parts if part != "checkpoints"]
    if len(parts) == 2 and parts[0] == parts[1]:  # a pipeline
        parts = parts[1:]
    return "/".join(parts) or folder.resolve().name


def _run_of(folder: Path, path: Path) -> str:
    """The run in `folder` to which a stage belongs; empty where it holds one run."""
    parts = path.relative_to(folder).parts
    if "checkpoints" not in parts[1:] or parts[0] == parts[-1]:  # the latter in a pipeline
        return ""
    return parts[0]


def _state(ended: Settings | None, owner: Settings | None, alive: bool | None) -> str:
    """Whether a run goes on, has ended, or was killed.

    Args:
        ended: How it ended; None if that is not known.
        owner: From the lock of its folder.
        alive: Whether that process still runs.
    """
    if owner is not None and alive is not False:
        who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('began')}"
        return f"{'alive' if alive else 'alive?':<15} {who}"
    if ended is not None:
        label = "diverged" if ended["reason"] == _DIVERGED else "ended"
        when = f" ({ended['time']})" if "time" in ended else ""
        return f"{label:<15} {ended['message']}{when}"
    if owner is not None:
        who = f"process {owner.get('pid')} on {owner.get('host')} is gone"
        return f"{'dead':<15} {who}; the same command goes on from the last checkpoint"
    return f"{'state':<15} not known"


def _view(path: Path) -> RunView:
    """How a stage is shown; its run folder is one or two above its checkpoints."""
    folders = [path.parent.parent, path.parent]
    return view_of(next((f for f in folders if domain_of(f) is not None), folders[0]))


def _logs(path: Path, manifest: Settings) -> list[Path]:
    """The logs of a run; first those of which the last row is found at once."""
    known = [account["file"] for account in manifest.get("rows", ())]
    stage = (manifest["configuration"] or {}).get("stage", path.name)
    names = known or [f"{stage}{suffix}" for suffix in READERS]
    found = [
        folder / file
        for folder in (path.parent.parent, path.parent, path)
        for file in names
        if (folder / file).is_file()
    ]
    return sorted(found, key=lambda file: file.suffix != ".csv")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
