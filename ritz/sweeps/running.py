"""Sweeps: the runs of a plan, executed by Dask."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ritz.sweeps.clusters import RUN, client_of, job_script, resources_of_worker
from ritz.sweeps.execution import execute, goes_on
from ritz.sweeps.halving import Halving
from ritz.sweeps.plan import Plan, PlannedRun
from ritz.sweeps.record import FAILED, KILLED, RUNNING, STOPPED, WAITING, Outcome, read_record
from ritz.sweeps.resources import Resources, most_at_once

Report = Callable[[Outcome], object]
"""Is called with the outcome of each run when it is known."""


def check(plan: Plan) -> str:
    """Refuse a plan that cannot be executed as it says, before anything is.

    Returns:
        The job script of a worker on a queue; empty on this machine.

    Raises:
        MissingExtra: If Dask, or what it needs for the cluster, is not installed.
        ValueError: If arguments of the cluster or of successive halving are wrong, or the folder
            of the sweep cannot be made.
    """
    _check_folder(plan.folder)
    if plan.halving:
        Halving.of(plan)
    return job_script(plan.cluster)


def at_once(plan: Plan, n_left: int) -> int:
    """How many of the runs that are left go on at once."""
    is_local = plan.cluster.get("kind", "local") == "local"
    return min(n_left, plan.workers or (most_at_once() if is_local else 1))


def sweep(
    plan: Plan, *, again: bool = False, report: Report = lambda outcome: None
) -> list[Outcome]:
    """Execute all runs that are not over yet, and wait for them.

    Ctrl-C has the runs that go on save themselves, for which it waits a minute at most; the same
    sweep goes on with them.

    Args:
        plan: The runs.
        again: Whether runs that failed or were given up are tried again.
        report: Called with each outcome, those of earlier sweeps first.

    Returns:
        The outcome of each run, in the order of the plan.

    Raises:
        MissingExtra: If Dask is not installed.
        ValueError: If the cluster or the folder cannot be made.
        KeyboardInterrupt: On Ctrl-C, once the runs have saved themselves.
    """
    _check_folder(plan.folder)
    found = known_outcomes(plan, again)
    for outcome in found.values():
        report(outcome)
    left = [run for run in plan.runs if run.name not in found]
    if not left:
        return [found[run.name] for run in plan.runs]
    halving = Halving.of(plan) if plan.halving else None
    n = at_once(plan, len(left))
    folders = [run.folder for run in left]
    with client_of(plan.cluster, n, plan.retries, folders) as (client, keep):
        runs = _Runs(client, n, plan, left, found, halving, again)
        for outcome in runs.outcomes(keep):
            found[outcome.name] = outcome
            report(outcome)
    return [found.get(run.name, Outcome(run.name, WAITING)) for run in plan.runs]


def known_outcomes(plan: Plan, again: bool = False) -> dict[str, Outcome]:
    """The outcomes of runs that are over.

    Args:
        plan: The runs.
        again: Whether those that failed or were given up are left out.
    """
    found = {}
    for run in plan.runs:
        outcome = read_record(run)
        if outcome is not None and outcome.stays(again=again, halving=bool(plan.halving)):
            found[run.name] = outcome
    return found


def present_outcomes(plan: Plan) -> list[Outcome]:
    """How far each run is now, when the sweep was interrupted."""
    return [_present_outcome(run) for run in plan.runs]


def _present_outcome(run: PlannedRun) -> Outcome:
    found = read_record(run) or Outcome(run.name, WAITING)
    is_gone = found.state == RUNNING and not goes_on(run.folder)
    return found._replace(state=STOPPED) if is_gone else found


def _check_folder(folder: Path) -> None:
    """Make the folder of a sweep, and remove again what was not there before.

    Raises:
        ValueError: If it cannot be made, or no other within it.
    """
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.rmdir(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        raise ValueError(
            f"folder: the sweep cannot have its runs in {folder} ({error.strerror}); name a folder "
            "below one in which you may write."
        ) from error
    finally:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()


class _Runs:
    """Gives runs to workers, no more at a time than there are workers.

    Dask would assign all of them at once, and take a worker that ends for the death of those that
    it was to have later.

    Args:
        client: Dask's.
        n: The number of workers.
        plan: The plan.
        left: Those of its runs that are not over.
        known: Outcomes of runs that are over.
        halving: Gives up runs early; None if none are.
        again: Whether runs that failed or were given up are tried again.
    """

    def __init__(
        self,
        client: Any,
        n: int,
        plan: Plan,
        left: Sequence[PlannedRun],
        known: Mapping[str, Outcome],
        halving: Halving | None,
        again: bool,
    ):
        self._client, self._plan, self._halving, self._again = client, plan, halving, again
        self._n = n
        self._known = dict(known)
        self._waiting = list(left)
        self._given: dict[str, PlannedRun] = {}
        """Runs that workers have, by the keys of Dask."""

    def outcomes(self, keep: Callable[[int], object]) -> Iterator[Outcome]:
        """The outcomes of runs, as they become known.

        Args:
            keep: Called with the number of runs that are left.
        """
        from distributed import as_completed

        completed = as_completed()
        self._give(completed)
        for future in completed:
            run = self._given.pop(future.key)
            outcome = _outcome(run, future)
            halving = self._halving
            if halving is not None and halving.goes_on(run, outcome):
                self._waiting.append(run)
            else:
                outcome = outcome if halving is None else halving.judged(run, outcome)
                self._known[run.name] = outcome
                yield outcome
            keep(len(self._waiting) + len(self._given))
            self._give(completed)

    def _give(self, completed: Any) -> None:
        """Give workers the first runs that can begin, as far as there is room."""
        for run in list(self._waiting):
            if len(self._given) >= self._n:
                return
            before = self._known.get(run.after)
            if run.after and before is None:
                continue
            self._waiting.remove(run)
            part = None if self._halving is None else self._halving.next_part(run)
            is_local = self._plan.cluster.get("kind", "local") == "local"
            future = self._client.submit(
                _on_worker,
                run,
                self._n if is_local else None,
                os.getcwd(),
                (self._plan.program, self._plan.retries, before, part),
                self._again,
                resources=RUN,
                pure=False,
            )
            self._given[future.key] = run
            completed.add(future)


def _on_worker(
    run: PlannedRun, n_workers: int | None, folder: str, given: tuple[Any, ...], again: bool
) -> Outcome:
    os.chdir(folder)  # jobs of some queues begin elsewhere
    resources = Resources() if n_workers is None else resources_of_worker(n_workers)
    return execute(run, resources, *given, again=again)


def _outcome(run: PlannedRun, future: Any) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return Outcome(run.name, KILLED, "its worker has died too often")
    return Outcome(run.name, FAILED, f"{type(error).__name__}: {error}")
