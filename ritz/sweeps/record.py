"""What is known of a run of a sweep: the file `sweep.json` in its folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ritz.folders.files import atomic_write
from ritz.sweeps.plan import PlannedRun
from ritz.types import JSON

FILE = "sweep.json"

FINISHED, FAILED, KILLED, STOPPED, PRUNED, RUNNING, WAITING = (
    "finished",
    "failed",
    "killed",
    "stopped",
    "pruned",
    "running",
    "waiting",
)
"""How far a run is: `failed` where a command ended with an error, `killed` where a signal ended it
too often, `stopped` where the sweep was stopped, `pruned` where successive halving gave it up,
`running` from its first command on until one of these is known, `waiting` where it was not begun or
that with whose state it begins has not finished."""

_OVER = (FINISHED, FAILED, PRUNED)


class Outcome(NamedTuple):
    """How far a run of a sweep is."""

    name: str
    """The run."""
    state: str
    """One of the states above."""
    message: str = ""
    """Why, in words."""
    seconds: float = 0.0
    """How long sweeps have worked at it."""
    starts: int = 0
    """How often its commands were started, in all sweeps."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended by itself or was given up."""
        return self.state in _OVER

    def stays(self, *, again: bool, halving: bool) -> bool:
        """Whether a further sweep leaves it as it is.

        Args:
            again: Whether what failed or was given up is tried again.
            halving: Whether that sweep gives up runs too.
        """
        return self.state == FINISHED or (
            not again and (self.state == FAILED or (halving and self.state == PRUNED))
        )


def read_record(run: PlannedRun) -> Outcome | None:
    """What the last sweep has noted of a run; None if it was another run, or there was none."""
    try:
        found = json.loads((run.folder / FILE).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("commands") != _commands(run):
        return None
    try:
        return Outcome(run.name, *(found[key] for key in ("state", "message", "seconds", "starts")))
    except KeyError:
        return None


def has_changed(run: PlannedRun) -> bool:
    """Whether there is a run of this name, which had other settings or commands."""
    return read_record(run) is None and (run.folder / FILE).is_file()


def write_record(run: PlannedRun, outcome: Outcome) -> None:
    """Note how far a run is."""
    content: dict[str, JSON] = {**outcome._asdict(), "commands": _commands(run)}
    run.folder.mkdir(parents=True, exist_ok=True)
    atomic_write(run.folder / FILE, json.dumps(content, indent=1).encode() + b"\n")


def _commands(run: PlannedRun) -> list[JSON]:
    """The command lines, with folders as seen from that of the sweep, which may be moved."""
    return [[_inside(run.folder.parent, token) for token in line] for line in run.commands]


def _inside(folder: Path, token: str) -> str:
    name, equals, value = token.partition("=")
    is_inside = equals and Path(value).parent == folder
    return f"{name}={Path(value).name}" if is_inside else token


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many runs are in each state, those that occur."""
    order = (FINISHED, PRUNED, FAILED, KILLED, STOPPED, RUNNING, WAITING)
    found = {state: sum(one.state == state for one in outcomes) for state in order}
    return {state: n for state, n in found.items() if n}
