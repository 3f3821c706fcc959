"""Dask's clusters for sweeps."""

import asyncio
import contextlib
import functools
import gc
import logging
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ritz.extras import needs
from ritz.sweeps import execution
from ritz.sweeps.resources import Resources, shares
from ritz.wording import counted

_logger = logging.getLogger("ritz")

RUN = {"run": 1}
"""A resource of Dask: each worker has one, and each run needs it, so that they do not overlap."""

LOOKS_EVERY = 10.0
"""Seconds between two looks at which jobs of a queue are lost."""
_WORTH_KEEPING = 0.1
"""Seconds that a program takes to compile which is kept for other runs."""
_LONG = 120.0
"""Seconds without any job at the sweep after which a warning says so."""

_QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}


def check_cluster(given: Mapping[str, Any]) -> None:
    """Refuse a cluster that there is not.

    Args:
        given: `Plan.cluster`.

    Raises:
        ValueError: If its kind is not known, or a local one gets arguments.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"cluster takes kind and arguments, but {given!r} was given.")
    kind = given.get("kind", "local")
    if kind not in ("local", *_QUEUES):
        raise ValueError(
            f"cluster.kind must be one of local, {', '.join(_QUEUES)}, but {kind!r} was given."
        )
    if kind == "local" and set(given) - {"kind"}:
        raise ValueError("cluster: a local one takes no arguments; `workers` says how many runs.")


@contextlib.contextmanager
def client_of(
    cluster: Mapping[str, Any], workers: int, retries: int, folders: Sequence[Path]
) -> Iterator[tuple[Any, Callable[[int], object]]]:
    """A client of Dask, each of whose workers has one run at a time.

    Args:
        cluster: `Plan.cluster`.
        workers: The number of workers; on a queue each is a job.
        retries: How often a run is started again whose worker has died.
        folders: Those of the runs.

    Yields:
        The client; and a function that takes the number of runs that are left, so that no more jobs
        are kept than these need.

    Raises:
        MissingExtra: If Dask is not installed.
        ValueError: See `check_cluster`.
    """
    check_cluster(cluster)
    with needs("A sweep", "sweep"):
        import dask.config
        import distributed

    kind = cluster.get("kind", "local")
    quiet: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": retries,
        "distributed.worker.memory.terminate": False,  # the runs are processes of their own
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
    }
    with dask.config.set(quiet), _silent(), contextlib.ExitStack() as stack:
        if kind == "local":
            options: dict[str, Any] = {
                "dashboard_address": "127.0.0.1:0",  # any port that is free
                "resources": RUN,
                "preload": [execution.__name__],
                "env": stack.enter_context(_compiling_once(folders)),
            }
            options |= {"n_workers": workers, "threads_per_worker": 1}
            options["silence_logs"] = logging.CRITICAL
            make = functools.partial(distributed.LocalCluster, **options)
            made: Any = stack.enter_context(_closing(_made_whole(make)))
        else:
            made = _queue(kind, cluster)
            made.scale(jobs=workers)
            stack.enter_context(_closing(made))
        client = stack.enter_context(_closing(distributed.Client(made)))
        stack.enter_context(_stopping(client))
        keep: Callable[[int], object] = lambda n_left: None  # noqa: E731
        if kind != "local":
            jobs = _Jobs(made, client, workers, kind)
            stack.enter_context(jobs.refilled())
            keep = jobs.keep
        yield client, keep


def _made_whole(make: Callable[[], Any]) -> Any:
    """A cluster; a signal that comes while its workers start waits until it can be closed."""
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(make)
        try:
            return making.result()
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):  # workers that had the signal too do not start
                making.result().close()
            raise
        finally:
            del making


@contextlib.contextmanager
def _closing(part: Any) -> Iterator[Any]:
    """Context manager of a part of Dask, whose errors at the end take no results away."""
    entered = part.__enter__()
    try:
        yield entered
    finally:
        try:
            part.__exit__(None, None, None)
        except Exception as error:
            told = f"{type(error).__name__}: {error}".removesuffix(": ")
            _logger.warning(
                "Dask's %s did not close in order (%s); outcomes of runs are not affected.",
                type(part).__name__,
                told,
            )


@contextlib.contextmanager
def _compiling_once(folders: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Environment variables by which runs of one machine share what JAX has compiled.

    What they share is removed at the end, unless a run goes on by itself.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        yield {}
        return
    shared = tempfile.mkdtemp(prefix="ritz-sweep-")
    try:
        yield {
            "JAX_COMPILATION_CACHE_DIR": shared,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(_WORTH_KEEPING),
            # JAX warns of each program that it takes from there.
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        }
    finally:
        if not any(map(execution.goes_on, folders)):
            shutil.rmtree(shared, ignore_errors=True)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No messages of Dask; what goes wrong there is an exception or ends a run, and is told so."""
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        gc.collect()  # asyncio tells of errors in tasks when these are deleted
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the handler of Ctrl-C, which dask_jobqueue replaces by its own when it is imported."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and before is not None:  # None: it was not set from Python
            signal.signal(signal.SIGINT, before)


def job_script(cluster: Mapping[str, Any]) -> str:
    """What is submitted for each worker on a queue; empty for a local cluster.

    Args:
        cluster: `Plan.cluster`.

    Raises:
        MissingExtra: If Dask is not installed.
        ValueError: See `check_cluster`; or if Dask refuses an argument.
    """
    check_cluster(cluster)
    kind = cluster.get("kind", "local")
    if kind == "local":
        return ""

    async def describe() -> str:  # a cluster that is not started
        return _queue(kind, cluster, asynchronous=True).job_script()

    return asyncio.run(describe())


def _queue(kind: str, cluster: Mapping[str, Any], **options: Any) -> Any:
    """A cluster whose jobs are one worker each."""
    with needs("A sweep on a queue", "sweep"), _own_signals():
        import dask_jobqueue

    given = {"scheduler_options": {"dashboard_address": ":0"}, **cluster}
    del given["kind"]
    extra = ["--resources", "run=1", *given.pop("worker_extra_args", [])]
    kind_of = getattr(dask_jobqueue, _QUEUES[kind])
    try:
        return kind_of(processes=1, worker_extra_args=extra, **given, **options)
    except (TypeError, ValueError) as error:
        told = str(error).partition(" Very likely")[0]  # the rest tells of Dask's own code
        raise ValueError(f"cluster: {told}") from error


class _Jobs:
    """The jobs of a cluster: as many as there are runs left, and others for those that have ended.

    Args:
        cluster: Dask's.
        client: Its client.
        most: The largest number of jobs.
        kind: The queue.
    """

    def __init__(self, cluster: Any, client: Any, most: int, kind: str):
        self._cluster, self._client, self._kind = cluster, client, kind
        self._wanted = most

    def keep(self, n_left: int) -> None:
        """Keep no more jobs than there are runs left."""
        self._wanted = min(self._wanted, n_left)

    @contextlib.contextmanager
    def refilled(self) -> Iterator[None]:
        """Context manager in which jobs that have ended, at their time limit say, are replaced."""
        over = threading.Event()

        def refill() -> None:
            last_seen = time.monotonic()
            while not over.wait(LOOKS_EVERY):
                try:
                    self._end_idle()
                    if len(self._cluster.worker_spec) <= self._wanted:
                        self._cluster.scale(jobs=self._wanted)  # Dask does not by itself
                    if self._cluster.scheduler_info["workers"]:
                        last_seen = time.monotonic()
                except Exception as error:  # the queue may not answer for a while
                    _logger.warning("The jobs of %s cannot be looked after: %s", self._kind, error)
                if time.monotonic() - last_seen > _LONG:
                    last_seen = math.inf  # told once
                    _logger.warning(
                        "No job of %s has been at the sweep for %.0f s; the queue may be long, or "
                        "its jobs fail: see what they print, and cluster.log_directory.",
                        self._kind,
                        _LONG,
                    )

        thread = threading.Thread(target=refill, name="ritz sweep jobs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _end_idle(self) -> None:
        """End jobs that have no run, if there are more than are wanted."""
        n_more = len(self._cluster.worker_spec) - self._wanted
        if n_more <= 0:
            return
        workers = self._cluster.scheduler_info["workers"]
        busy = {address for address, keys in self._client.processing().items() if keys}
        idle = [about["name"] for address, about in workers.items() if address not in busy]
        absent = set(self._cluster.worker_spec) - {about["name"] for about in workers.values()}
        self._cluster.sync(self._cluster.scale_down, [*absent, *idle][:n_more])


@contextlib.contextmanager
def _stopping(client: Any) -> Iterator[None]:
    """At the end, have the commands on all workers save their runs and end."""
    try:
        yield
    except KeyboardInterrupt:
        _logger.info(
            "The sweep was interrupted. It waits until the runs that go on have saved themselves; "
            "a second signal ends it at once, and they save themselves alone."
        )
        raise
    finally:
        # A second signal leaves errors of Dask, and workers that are gone have none.
        with contextlib.suppress(Exception):
            left = client.run(execution.stop_commands, execution.PATIENCE)
            names = sorted(name for own in left.values() for name in own)
            if names:
                _logger.warning(
                    "%s did not end within %g s and %s by %s: %s.",
                    counted(len(names), "run"),
                    execution.PATIENCE,
                    *(("go on", "themselves") if len(names) > 1 else ("goes on", "itself")),
                    ", ".join(names),
                )


def resources_of_worker(n: int) -> Resources:
    """The share of the worker that asks, among `n` of a local cluster."""
    from distributed import get_worker

    name = get_worker().name
    found = shares(n)
    return found[int(name) % len(found)]
