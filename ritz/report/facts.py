"""What is known of a run from its files."""

import dataclasses
from collections.abc import Callable, Mapping, Set
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ritz.folders.columns import UNREADABLE, LogColumns, open_log
from ritz.folders.config import CONFIG, domain_of
from ritz.folders.saved import CheckpointError, entries, newest_checkpoint, read_manifest
from ritz.folders.timing import read_timing
from ritz.folders.view import ANY_RUN, V_SCORE, RunView
from ritz.folders.warnings_file import read_warnings
from ritz.plotting import SeveralRunsError, exact_value, find_logs, labels_of
from ritz.plotting.parity import FILE as PARITY
from ritz.report.machine import commands_of, machine_of
from ritz.report.parity import Parity, read_parity
from ritz.report.step_times import StepTimes, step_times
from ritz.report.structures import Structures, read_structures
from ritz.stages.digest import FILE as DIGEST
from ritz.stages.digest import Estimate, read_digest
from ritz.sweeps.results import is_run, result_of

Views: TypeAlias = Callable[[Path], RunView]
"""How the run in a folder is shown."""

_HISTORY = "config_history"
_TRAINING = "train"
"""Stage whose parameters an evaluation is of."""
_SAVED = "%Y-%m-%d %H:%M:%S%z"
"""Format of the time in a manifest."""
_LOG_ALONE = "a log, which does not tell how the run ended; name its folder of checkpoints for that"
_REASONS = {"RUNNING": "still running", "KILLED": "killed; the same command resumes it"}


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """A run, from its folder or its log; what is not known is empty."""

    path: Path
    """The run folder, or the log."""
    name: str
    """What the run is called on the page."""
    domain: str | None = None
    view: RunView = ANY_RUN
    log: LogColumns | None = None
    log_problem: str = ""
    """Why the preferred log could not be read."""
    v_score: float | None = None
    """Mean over the last tenth of the rows."""
    result: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The newest result, and how the run ended, as tables of `ritz compare` have it."""
    exact: float | None = None
    config: str = ""
    """The configuration as YAML."""
    history: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Former configurations, by the name of their file."""
    commands: list[str] = dataclasses.field(default_factory=list)
    machine: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Host, devices and versions of the newest checkpoint."""
    digest: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    timing: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """Callback, hook, calls, seconds and share, from `HookTiming`."""
    steps: StepTimes | None = None
    parity: Mapping[str, Parity] = dataclasses.field(default_factory=dict)
    structures: Structures | None = None
    outdated: Set[str] = frozenset()
    """Which of `digest.npz` and `parity.npz` are of parameters that were trained further since."""
    trained_steps: int = 0
    """Steps of the training so far, where one of them is outdated."""

    @property
    def ended(self) -> str:
        """How the run ended, in words."""
        message = self.result.get("message")
        return _REASONS.get(self.reason) or str(message or self.reason.lower() or "not known")

    @property
    def reason(self) -> str:
        """Why the run ended: a name of `StopReason`, or RUNNING, KILLED, FAILED, PRUNED."""
        return str(self.result.get("stop_reason") or "")


def facts_of(path: str | Path, view_of: Views = lambda _: ANY_RUN) -> RunFacts:
    """Gather what the files of a run tell.

    Args:
        path: A run folder, a folder with checkpoints, or a log.
        view_of: How the run in a folder is shown.

    Raises:
        ValueError: If there is no run, or `path` is a log that cannot be read.
    """
    path = Path(path)
    view = view_of(path)
    log, problem = _opened(path, view)
    if not path.is_dir():
        if log is None:
            raise ValueError(problem)
        name = labels_of([log.path])[0]
        known = {"v_score": _v_score(log), "steps": step_times(log)}
        return RunFacts(log.path, name, log=log, result={"message": _LOG_ALONE}, **known)
    if not (log or problem or is_run(path) or newest_checkpoint(path)):
        raise ValueError(
            f"there is no run in {path}: it has no log, no {CONFIG} and no checkpoints."
        )
    outdated, trained_steps = _outdated(path)
    return RunFacts(
        path=path,
        name=path.resolve().name,
        domain=domain_of(path),
        view=view,
        log=log,
        log_problem=problem,
        v_score=None if log is None else _v_score(log),
        result=result_of(path),
        exact=exact_value(path),
        config=_text(path / CONFIG),
        history={file.name: _text(file) for file in sorted((path / _HISTORY).glob("*.yaml"))},
        commands=commands_of(path),
        machine=machine_of(path),
        digest=_digest(path),
        warnings=read_warnings(path),
        timing=read_timing(path),
        steps=None if log is None else step_times(log),
        parity=read_parity(path),
        structures=read_structures(path),
        outdated=outdated,
        trained_steps=trained_steps,
    )


def _opened(path: Path, view: RunView) -> tuple[LogColumns | None, str]:
    """The log of a run, None if it has none, and why the preferred one could not be read."""
    try:
        files = find_logs(path, view.logs)
    except SeveralRunsError:
        raise
    except ValueError:
        if path.is_dir():
            return None, ""
        raise
    problem = ""
    for file in files:
        try:
            return open_log(file), problem
        except UNREADABLE as error:
            problem = problem or f"{file.name} cannot be read: {error}"
    return None, problem


def _v_score(log: LogColumns) -> float | None:
    """Mean of the V-score over the last tenth of the rows; None if it is not logged."""
    try:
        _, values = log.column(V_SCORE.name, log.main_field(V_SCORE.name) or "value")
    except UNREADABLE:
        return None
    values = values[np.isfinite(values)]
    return float(np.mean(values[-max(1, len(values) // 10) :])) if len(values) else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _digest(folder: Path) -> dict[str, Estimate]:
    try:
        return read_digest(folder) if (folder / DIGEST).is_file() else {}
    except ValueError:
        return {}


def _outdated(folder: Path) -> tuple[Set[str], int]:
    """Files of evaluations that are older than the newest checkpoint of the training, and its step.

    In a copied folder files are new, so that none counts as outdated.
    """
    saved = entries(folder / "checkpoints" / _TRAINING)
    try:
        manifest = read_manifest(saved[-1].path)
        trained = datetime.strptime(manifest["saved"], _SAVED).timestamp()
    except (CheckpointError, IndexError, KeyError, TypeError, ValueError):
        return frozenset(), 0
    files = [folder / name for name in (DIGEST, PARITY)]
    older = {f.name for f in files if f.is_file() and f.stat().st_mtime < trained}
    return older, saved[-1].step if older else 0
