"""Execute many runs that differ in some settings, and go on with those that were stopped."""

import argparse
import contextlib
import io
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ritz.cli.settings.yaml_text import read_yaml
from ritz.sweeps import Plan, PlannedRun
from ritz.sweeps.execution import OUTPUT
from ritz.sweeps.record import (
    FAILED,
    FINISHED,
    PRUNED,
    Outcome,
    counts,
    has_changed,
)
from ritz.sweeps.running import at_once, check, known_outcomes, present_outcomes, sweep
from ritz.wording import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `ritz sweep` takes."""
    parser.add_argument("file", metavar="FILE", help="YAML file: what is run, and what varies")
    parser.add_argument("--folder", default="", help="folder of the sweep, instead of the file's")
    parser.add_argument("--workers", type=int, help="how many runs go on at once")
    parser.add_argument(
        "--again", action="store_true", help="try again what failed or was given up"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="check and list all runs, and execute none"
    )


def run(options: argparse.Namespace) -> int:
    """Execute the runs.

    Returns:
        The exit status: 0 if all runs have finished or were given up by halving, 1 if not.

    Raises:
        ValueError: If the file or a setting is wrong.
    """
    content = read_yaml(Path(options.file))
    if not isinstance(content, dict):
        given = "is empty" if content is None else f"holds {content!r:.60}"
        raise ValueError(
            f"{options.file} describes no sweep: it must have entries such as `command: lattice "
            f"train` and `vary`, but {given}."
        )
    if options.workers is not None:
        content["workers"] = options.workers
    plan = Plan.of(content, options.folder or None)
    script = check(plan)
    _check_settings(plan)
    known = known_outcomes(plan, options.again)
    if options.dry_run:
        for one in plan.runs:
            state = known[one.name].state if one.name in known else ""
            state = "it had other settings before" if has_changed(one) else state
            after = f"begins with the state of {one.after}" if one.after else ""
            told = ", ".join(filter(None, [state, after]))
            _say(one.name + f" ({told})" * bool(told))
        _say(*([f"A job of the queue is:\n{script}"] if script else []))
        _say(f"{counted(len(plan.runs), 'run')}. Nothing was executed.")
        return 0
    _say(_beginning(plan, len(known)))
    try:
        outcomes = sweep(plan, again=options.again, report=_Teller(len(plan.runs), known))
    except KeyboardInterrupt:
        _say(*_ending(plan, present_outcomes(plan)))
        raise
    _say(*_ending(plan, outcomes))
    return 0 if all(one.state in (FINISHED, PRUNED) for one in outcomes) else 1


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _check_settings(plan: Plan) -> None:
    """Build some of the runs, and read the settings of those with values that none before has.

    Raises:
        ValueError: If one is wrong, with the run and what is allowed.
    """
    first, *others = _telling(plan)
    with _building(plan, first) as building:
        try:
            _read_settings(plan)
        except BaseException:
            building.terminate()
            raise
        _check_built(first, building)
    for one in others:
        with _building(plan, one) as building:
            _check_built(one, building)


def _telling(plan: Plan) -> list[PlannedRun]:
    """The first run, and those with values of kinds that none before has, as text after numbers."""
    seen: set[tuple[str, str]] = set()
    found = []
    for one in plan.runs:
        kinds = {(name, _kind(value)) for name, value in one.settings.items()}
        if not found or kinds - seen:
            found.append(one)
        seen |= kinds
    return found


def _kind(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _building(plan: Plan, one: PlannedRun) -> "subprocess.Popen[str]":
    line = [*plan.program, *one.commands[0], "--dry_run"]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _check_built(one: PlannedRun, building: "subprocess.Popen[str]") -> None:
    said = building.communicate()[1].strip().splitlines()
    if building.returncode:
        reason = said[-1] if said else f"status {building.returncode}"
        reason = reason.removeprefix("ritz: ")
        raise ValueError(f"{_where(one, one.commands[0], reason)}: {reason}")


def _read_settings(plan: Plan) -> None:
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(plan.runs):
        new = {(name, repr(value)) for name, value in one.settings.items()} - seen
        if number and not new:
            continue
        seen |= new
        for command in one.commands:
            _check_command(one, command)


def _check_command(one: PlannedRun, command: tuple[str, ...]) -> None:
    import jsonargparse

    from ritz.cli import main

    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main._run([*command, "--print_config"])
        except (jsonargparse.ArgumentError, ValueError) as error:
            raise ValueError(f"{_where(one, command, str(error))}: {error}") from error


def _where(one: PlannedRun, command: Sequence[str], reason: str) -> str:
    """The run, if something is wrong with what varies, and else the command."""
    is_of_run = any(name in reason for name in one.settings)
    return one.name if is_of_run else " ".join(command[:2])


class _Teller:
    """Prints a line for each run that is over.

    Args:
        n_runs: The number of runs.
        known: The names of those that were over before.
    """

    def __init__(self, n_runs: int, known: Collection[str]):
        self.n_runs, self._known, self._n_told = n_runs, known, 0

    def __call__(self, outcome: Outcome) -> None:
        """Print how a run went."""
        self._n_told += 1
        why = f": {outcome.message}" if outcome.message else ""
        line = f"[{self._n_told}/{self.n_runs}] {outcome.name} {outcome.state}{why}"
        before = "before, " * (outcome.name in self._known)
        _say(f"{line} ({before}{outcome.seconds:.0f} s)")


def _beginning(plan: Plan, n_known: int) -> str:
    """What is to be done, told before the first run is over."""
    left = len(plan.runs) - n_known
    before = f"{counted(n_known, 'run', 'is')} over, {left} to go" if n_known else ""
    n_changed = sum(map(has_changed, plan.runs))
    changed = counted(n_changed, "run", "has") + " other settings than before" if n_changed else ""
    how = f"{at_once(plan, left)} at once" if left else ""
    where = f"; each prints to {OUTPUT} in its folder" if left else ""
    told = ", ".join(filter(None, [counted(len(plan.runs), "run"), before, changed, how]))
    return f"{told}{where}."


def _ending(plan: Plan, outcomes: list[Outcome]) -> list[str]:
    found = ", ".join(f"{n} {state}" for state, n in counts(outcomes).items())
    lines = [f"{counted(len(outcomes), 'run')}: {found}. Table: ritz compare {plan.folder}"]
    if any(one.state == FAILED for one in outcomes):
        lines.append("What failed is tried again with --again; output.txt of each run says why.")
    if any(not one.is_over for one in outcomes):
        lines.append("The same command goes on with what is not finished.")
    return lines
