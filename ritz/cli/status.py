"""Show how far runs are: step, energy, time left and last checkpoint."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ritz.checkpoint.folder import CheckpointError, CheckpointFolder, read_manifest
from ritz.driver.stop import StopReason
from ritz.plotting import read_log


def add_arguments(parser: Any) -> None:
    """Say what `ritz status` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")


def run(options: Any) -> None:
    """Print a few lines for each run."""
    sys.stdout.write("\n".join(describe_run(Path(folder)) for folder in options.runs))


def describe_run(folder: Path) -> str:
    """What is known of the run in `folder`, as lines of text.

    Raises:
        ValueError: If it is no run folder.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no run folder {folder}.")
    stages = [p for p in _checkpoint_folders(folder) if CheckpointFolder(p).entries()]
    stages.sort(key=lambda p: CheckpointFolder(p).entries()[0].path.stat().st_mtime)
    if not stages:
        raise ValueError(
            f"{folder} has no checkpoints; `ritz status` knows folders of `ritz lattice` and of "
            "work stages."
        )
    lines = [str(folder)]
    for path in stages:
        lines += _stage_lines(folder, path)
    return "\n".join(lines) + "\n"


def _checkpoint_folders(folder: Path) -> list[Path]:
    """Where checkpoints may be: of stages, of stages of a pipeline, or right here."""
    found = [*folder.glob("checkpoints/*"), *folder.glob("*/checkpoints/*")]
    return [p for p in found if p.is_dir()] + [folder / "checkpoints", folder]


def _stage_lines(folder: Path, path: Path) -> list[str]:
    entry = CheckpointFolder(path).entries()[-1]
    try:
        manifest = read_manifest(entry.path)
    except CheckpointError as error:
        return [f"  {path.name}: {error}"]
    name = (manifest["configuration"] or {}).get("stage", path.name)
    step, clock, energy = _last_row(path.parent.parent, name, manifest)
    target = manifest["target"]
    ended = manifest["ended"] if entry.step >= step else None
    lines = [f"  {name}", f"    step            {step} of {target}"]
    if energy is not None:
        lines.append(f"    {energy}")
    if ended is not None:
        lines.append(f"    ended           {ended['message']}")
    stopped = ended is not None and ended["reason"] == StopReason.STOPPED.name
    if step < target and not stopped and clock is not None and step > manifest["began"]:
        left = (target - step) * clock / (step - manifest["began"])
        lines.append(f"    time left       {_duration(left)} (when it goes on)")
    age = time.time() - entry.path.stat().st_mtime
    lines.append(
        f"    last checkpoint step {entry.step}, {_duration(age)} ago ({manifest['saved']})"
    )
    return lines


def _last_row(folder: Path, name: str, manifest: Any) -> tuple[int, float | None, str | None]:
    """Steps taken, their seconds and the loss, from the log, or else from the checkpoint."""
    loss = manifest["loss"] or {}
    quantity = str(loss.get("name"))
    saved = manifest["step"], manifest["elapsed"], _loss_text(quantity, **_mean_and_error(loss))
    try:
        data = read_log(folder / name)
        history, clock = data[quantity], data["wallclock"]
    except (ValueError, KeyError):
        return saved
    if not len(history) or int(history.iters[-1]) < manifest["step"]:
        return saved
    error = history["Sigma"][-1] if "Sigma" in history else None
    text = _loss_text(quantity, history.values[-1], error)
    return int(history.iters[-1]) + 1, _number(clock.values[-1]), text


def _mean_and_error(loss: dict[str, Any]) -> dict[str, Any]:
    return {"mean": loss.get("mean"), "error": loss.get("error")}


def _number(value: Any) -> float | None:
    try:
        return float(np.real(np.asarray(value)).reshape(()))
    except (TypeError, ValueError):
        return None


def _loss_text(name: Any, mean: Any, error: Any) -> str | None:
    mean, error = _number(mean), _number(error)
    if name is None or mean is None:
        return None
    band = "" if error is None or math.isnan(error) else f" +- {error:.2g}"
    return f"{str(name).lower():<15} {mean:.8g}{band}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
