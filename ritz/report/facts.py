"""What is known of a run from its files."""

import csv
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ritz.folders.columns import open_log
from ritz.folders.config import CONFIG, domain_of
from ritz.folders.lock import read_lock
from ritz.folders.saved import CheckpointError, entries, read_manifest
from ritz.folders.timing import read_timing
from ritz.folders.view import ANY_RUN, RunView
from ritz.folders.warnings_file import read_warnings
from ritz.plotting import exact_value, find_log
from ritz.report.parity import Parity, read_parity
from ritz.report.step_times import StepTimes, step_times
from ritz.stages.digest import FILE as DIGEST
from ritz.stages.digest import Estimate, read_digest
from ritz.sweeps.results import result_of

Views: TypeAlias = Callable[[Path], RunView]
"""How the run in a folder is shown."""

_HISTORY = "config_history"
_STRUCTURES = "relaxed.csv"
_MOST_STRUCTURES = 200


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """A run, from its folder or its log; what is not known is empty."""

    path: Path
    """The run folder, or the log."""
    name: str
    domain: str | None
    view: RunView
    has_log: bool
    result: Mapping[str, Any]
    """The newest result, and how the run ended, as tables of `ritz compare` have it."""
    exact: float | None
    config: str
    """The configuration as YAML."""
    history: Mapping[str, str]
    """Former configurations, by the name of their file."""
    commands: list[str]
    machine: Mapping[str, str]
    """Host, devices and versions of the newest checkpoint."""
    digest: Mapping[str, Estimate]
    warnings: list[str]
    timing: list[dict[str, str]]
    """Callback, hook, calls, seconds and share, from `HookTiming`."""
    steps: StepTimes | None
    parity: Mapping[str, Parity]
    structures: list[dict[str, str]]
    """Rows of relaxed structures, those that are not converged first."""
    n_structures: int

    @property
    def ended(self) -> str:
        """How the run ended, in words."""
        reason = str(self.result.get("stop_reason") or "")
        said = {"RUNNING": "goes on", "KILLED": "was killed; the same command goes on"}
        message = self.result.get("message")
        return said.get(reason) or str(message or reason.lower() or "not known")

    @property
    def reason(self) -> str:
        """Why the run ended: a name of `StopReason`, or RUNNING, KILLED, FAILED, PRUNED."""
        return str(self.result.get("stop_reason") or "")


def facts_of(path: str | Path, view_of: Views = lambda _: ANY_RUN) -> RunFacts:
    """Gather what the files of a run tell.

    Args:
        path: A run folder, or a log.
        view_of: How the run in a folder is shown.

    Raises:
        ValueError: If there is no run.
    """
    path = Path(path)
    log = _log(path, view_of(path))
    if log is None and not (path / CONFIG).is_file():
        raise ValueError(f"there is no run in {path}: neither a log nor a {CONFIG} is there.")
    if not path.is_dir():
        return _of_log(path, log or path)
    structures, n_structures = _structures(path / _STRUCTURES)
    return RunFacts(
        path=path,
        name=path.resolve().name,
        domain=domain_of(path),
        view=view_of(path),
        has_log=log is not None,
        result=result_of(path),
        exact=exact_value(path),
        config=_text(path / CONFIG),
        history={file.name: _text(file) for file in sorted((path / _HISTORY).glob("*.yaml"))},
        commands=_commands(path),
        machine=_machine(path),
        digest=_digest(path),
        warnings=read_warnings(path),
        timing=read_timing(path),
        steps=None if log is None else step_times(open_log(log)),
        parity=read_parity(path),
        structures=structures,
        n_structures=n_structures,
    )


def _of_log(path: Path, log: Path) -> RunFacts:
    """A log without the folder of a run."""
    return RunFacts(
        path=log,
        name=path.stem if path.suffix else path.name,
        domain=None,
        view=ANY_RUN,
        has_log=True,
        result={},
        exact=None,
        config="",
        history={},
        commands=[],
        machine={},
        digest={},
        warnings=[],
        timing=[],
        steps=step_times(open_log(log)),
        parity={},
        structures=[],
        n_structures=0,
    )


def _log(path: Path, view: RunView) -> Path | None:
    """The log of the run; None where a run has none yet."""
    try:
        return find_log(path, view.logs)
    except ValueError:
        if path.is_dir():
            return None
        raise


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _owners(folder: Path) -> list[Mapping[str, Any]]:
    """Processes that worked in the folder, the oldest first."""
    places = [folder, *(folder / "checkpoints").glob("*")]
    owners = [owner for place in places if (owner := read_lock(place)) is not None]
    return sorted(owners, key=lambda owner: str(owner.get("began")))


def _commands(folder: Path) -> list[str]:
    """The last commands in the folder and at its checkpoints, the oldest first."""
    return list(dict.fromkeys(str(owner.get("command")) for owner in _owners(folder)))


def _machine(folder: Path) -> dict[str, str]:
    hosts = [str(owner["host"]) for owner in _owners(folder) if owner.get("host")]
    found = {"host": hosts[-1]} if hosts else {}
    stages = [stage for stage in (folder / "checkpoints").glob("*") if entries(stage)]
    if not stages:
        return found
    newest = max((entries(stage)[-1] for stage in stages), key=lambda e: e.path.stat().st_mtime)
    try:
        manifest = read_manifest(newest.path)
    except CheckpointError:
        return found
    for name in ("processes", "devices"):
        if name in manifest:
            found[name] = str(manifest[name])
    return found | {str(name): str(value) for name, value in manifest["versions"].items()}


def _digest(folder: Path) -> dict[str, Estimate]:
    try:
        return read_digest(folder) if (folder / DIGEST).is_file() else {}
    except ValueError:
        return {}


def _structures(file: Path) -> tuple[list[dict[str, str]], int]:
    """Rows of a table of structures, those that are not converged first, and their number."""
    try:
        with open(file, newline="") as lines:
            rows = list(csv.DictReader(lines))
    except OSError:
        return [], 0
    rows.sort(key=lambda row: row.get("status") == "converged")
    return rows[:_MOST_STRUCTURES], len(rows)
