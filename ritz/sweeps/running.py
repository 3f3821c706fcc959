"""Sweeps: the runs of a plan, executed by Dask."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ritz.sweeps.clusters import RUN, client_of, job_script, place_of_worker
from ritz.sweeps.execution import execute
from ritz.sweeps.halving import Halving
from ritz.sweeps.place import Place
from ritz.sweeps.plan import Plan, PlannedRun
from ritz.sweeps.record import FAILED, KILLED, WAITING, Outcome, read_record

Report = Callable[[Outcome], object]
"""Is called with the outcome of each run when it is known."""


def check(plan: Plan) -> str:
    """Refuse a plan that cannot be executed as it says, before anything is.

    Returns:
        The job script of a worker on a queue; empty on this machine.

    Raises:
        MissingExtra: If Dask, or what it needs for the cluster, is not installed.
        ValueError: If arguments of the cluster or of successive halving are wrong.
    """
    if plan.halving:
        Halving.of(plan)
    return job_script(plan.cluster)


def sweep(
    plan: Plan, *, again: bool = False, report: Report = lambda outcome: None
) -> list[Outcome]:
    """Execute all runs that are not over yet, and wait for them.

    Ctrl-C has the runs that go on save themselves; the same sweep goes on with them.

    Args:
        plan: The runs.
        again: Whether runs that failed are tried again.
        report: Called with each outcome, those of earlier sweeps first.

    Returns:
        The outcome of each run, in the order of the plan.

    Raises:
        MissingExtra: If Dask is not installed.
        ValueError: If the cluster cannot be made.
        KeyboardInterrupt: On Ctrl-C, once the runs have saved themselves.
    """
    found = known_outcomes(plan, again)
    for outcome in found.values():
        report(outcome)
    left = [run for run in plan.runs if run.name not in found]
    if not left:
        return [found[run.name] for run in plan.runs]
    halving = Halving.of(plan) if plan.halving else None
    with client_of(plan.cluster, plan.workers, plan.retries) as client:
        for outcome in _outcomes(client, plan, left, found, halving):
            found[outcome.name] = outcome
            report(outcome)
    return [found.get(run.name, Outcome(run.name, WAITING)) for run in plan.runs]


def known_outcomes(plan: Plan, again: bool = False) -> dict[str, Outcome]:
    """The outcomes of runs that are over.

    Args:
        plan: The runs.
        again: Whether those that failed are left out.
    """
    found = {}
    for run in plan.runs:
        outcome = read_record(run)
        if outcome is not None and outcome.is_over and not (again and outcome.state == FAILED):
            found[run.name] = outcome
    return found


def _outcomes(
    client: Any,
    plan: Plan,
    left: Sequence[PlannedRun],
    known: Mapping[str, Outcome],
    halving: Halving | None,
) -> Iterator[Outcome]:
    """The outcomes of runs, as they become known."""
    from distributed import as_completed

    runs, futures = {}, {}
    completed = as_completed()

    def submit(run: PlannedRun, part: Sequence[str] | None) -> None:
        before = known.get(run.after) or futures.get(run.after)
        given = (plan.program, plan.retries, before, part)
        future = client.submit(
            _on_worker, run, plan.workers, plan.cluster, *given, resources=RUN, pure=False
        )
        runs[future.key], futures[run.name] = run, future
        completed.add(future)

    for run in left:
        part = None if halving is None else halving.next_part(run)
        submit(run, part)
    for future in completed:
        run = runs[future.key]
        outcome = _outcome(run, future)
        if halving is not None and halving.goes_on(run, outcome):
            submit(run, halving.next_part(run))
            continue
        yield outcome if halving is None else halving.judged(run, outcome)


def _on_worker(
    run: PlannedRun,
    workers: int | None,
    cluster: Mapping[str, Any],
    program: Sequence[str],
    retries: int,
    before: Outcome | None,
    part: Sequence[str] | None,
) -> Outcome:
    place = place_of_worker(workers) if cluster.get("kind", "local") == "local" else Place()
    return execute(run, place, program, retries, before, part)


def _outcome(run: PlannedRun, future: Any) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return Outcome(run.name, KILLED, "its worker has died too often")
    return Outcome(run.name, FAILED, f"{type(error).__name__}: {error}")
