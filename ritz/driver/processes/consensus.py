"""Decisions that all processes of a run take together.

A callback may decide from a clock or a file that only its process sees. If one process left the
loop alone, the others would wait for it forever in their next collective operation.

All gathers have one form, and each carries a flag that says whether a process has failed. So a
process that fails joins whatever gather the others come to next, and they learn of it there.
"""

import contextlib
import functools
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, UInt8

from ritz.driver.processes import watchdog

NEVER = 2**31 - 1
"""A step number beyond that of any run."""

_TOLD_WITHIN = 2.0
"""Seconds in which it is told that a process was killed."""

_NUMBERS = 8
_BYTES = 2048


class OtherProcessFailed(RuntimeError):
    """Another process of this run failed; the message names it and its error."""


class Failure(NamedTuple):
    """An error of this process that the other processes do not know yet."""

    error: BaseException
    where: str
    """Where it happened, such as "at step 3 in CSVLog.before_parameter_update"."""

    def __str__(self) -> str:
        said = f"{type(self.error).__name__}: {self.error}".partition("\n")[0]
        process, world = jax.process_index(), jax.process_count()
        return f"process {process} of {world} failed {self.where}: {said}"


@functools.cache
def is_single_process() -> bool:
    """Whether there is only one process."""
    return jax.process_count() == 1


def exchange(array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, stacked: the one function in which processes wait for others."""
    from jax.experimental import multihost_utils

    try:
        with watchdog.waiting():
            return np.asarray(multihost_utils.process_allgather(array))
    except Exception as error:
        own = f"process {jax.process_index()} of {jax.process_count()}"
        told = watchdog.lost(_TOLD_WITHIN)
        which = told or f"{own} has lost the others, one of which may have been killed"
        lost = OtherProcessFailed(f"{which}: {error}")
        lost.__dict__.update(_shared=True, _cause=told)
        watchdog.note_loss()
        raise lost from error


def poll(
    numbers: tuple[int, ...], failure: Failure | None = None, *, meet: bool = True
) -> tuple[Int[np.ndarray, "processes numbers"], Int[np.ndarray, " processes"]]:
    """Gather the numbers of all processes; if any of them has failed, `blame` must follow.

    Args:
        numbers: At most seven numbers below 2**31 in size.
        failure: The error of this process.
        meet: Whether the others may compute something together before they come here; then a
            process that has failed waits for them first.

    Returns:
        The numbers of all processes, and who has failed.

    Raises:
        BaseException: The error of this process, if the others never come here.
    """
    if failure is not None:
        watchdog.publish(str(failure))
        if meet and not watchdog.meet():
            failure.error.__dict__["_shared"] = True
            raise failure.error
    row = np.zeros(_NUMBERS, np.int32)
    row[0] = failure is not None
    row[1 : 1 + len(numbers)] = numbers
    table = exchange(row)
    return table[:, 1 : 1 + len(numbers)], np.flatnonzero(table[:, 0])


def blame(failed: Int[np.ndarray, " processes"], failure: Failure | None) -> None:
    """Raise on all processes, if any has failed.

    Raises:
        BaseException: The error of this process, if it has failed.
        OtherProcessFailed: If it has not.
    """
    if not len(failed):
        return
    texts = exchange(_written("" if failure is None else str(failure)))
    error: BaseException = OtherProcessFailed("; ".join(_read(texts[i]) for i in failed))
    if failure is not None:
        error = failure.error
        # A process before this one tells of the same error.
        said = [_read(texts[i]).partition(" failed ")[2] for i in (failed[0], jax.process_index())]
        error.__dict__["_told"] = jax.process_index() != failed[0] and said[0] == said[1]
    error.__dict__["_shared"] = True
    raise error


def _written(text: str) -> UInt8[np.ndarray, " bytes"]:
    return np.frombuffer(text.encode()[:_BYTES].ljust(_BYTES, b"\0"), np.uint8)


def _read(said: UInt8[np.ndarray, " bytes"]) -> str:
    return bytes(said).rstrip(b"\0").decode(errors="replace")


def gather(numbers: tuple[int, ...], failure: Failure | None = None) -> np.ndarray:
    """The numbers of all processes, shape (processes, numbers); raises as `blame` does."""
    table, failed = poll(numbers, failure)
    blame(failed, failure)
    return table


def is_shared(error: BaseException) -> bool:
    """Whether all processes know of `error`."""
    return error.__dict__.get("_shared", False)


def cause_of(error: BaseException) -> str:
    """What has caused an error, where another process was lost or has failed; else empty."""
    return error.__dict__.get("_cause") or str(error) * isinstance(error, OtherProcessFailed)


def announce(failure: Failure, step: int = NEVER) -> None:
    """Tell the other processes of an error, at the point that they come to next.

    Args:
        failure: The error of this process.
        step: How many updates had been applied here.
    """
    if is_single_process() or is_shared(failure.error):
        return
    if isinstance(failure.error, jax.errors.JaxRuntimeError):
        cause = watchdog.lost(_TOLD_WITHIN) or watchdog.told_by_others()
        if cause:  # this error follows from it, and all are told
            failure.error.add_note(cause)
            failure.error.__dict__.update(_shared=True, _cause=cause)
            watchdog.note_loss()
            return
    with contextlib.suppress(type(failure.error)):
        gather((step, 0), failure)


@contextlib.contextmanager
def together(where: str) -> Iterator[dict[str, int | Mapping[str, str]]]:
    """Context for what all processes do; a failure of one raises on all.

    Args:
        where: What it is, for the message on the others, such as "before the run".

    Yields:
        A dict for what must be the same on all processes, by name: numbers, or texts by their
        names; seven entries at most.

    Raises:
        OtherProcessFailed: If it failed on another process only.
        ValueError: On all processes, if they have something else there.
    """
    alike: dict[str, int | Mapping[str, str]] = {}
    try:
        yield alike
    except BaseException as error:
        announce(Failure(error, where))
        raise
    if is_single_process():
        return
    numbers = [_checksum(x) if isinstance(x, Mapping) else x for x in alike.values()]
    table = gather(tuple(min(number, NEVER) for number in numbers))
    for (name, own), column in zip(alike.items(), table.T.tolist(), strict=True):
        if len(set(column)) > 1:
            detail = f"{column}, in their order"
            if isinstance(own, Mapping):
                detail = _names_that_differ(own)
            error = ValueError(
                f"the processes of this run have different {name}: {detail}. Give all of them the "
                "same."
            )
            error.__dict__.update(_shared=True, _told=jax.process_index() > 0)
            raise error


def _checksum(texts: Mapping[str, str]) -> int:
    return zlib.crc32(repr(sorted(texts.items())).encode()) & NEVER


def _names_that_differ(own: Mapping[str, str]) -> str:
    """Which texts are not the same on all processes, as far as a message has room for them."""
    listed = "".join(f"{name} {_checksum({name: text})}\n" for name, text in own.items())
    lines = [set(_read(said).split("\n")) for said in exchange(_written(listed))]
    differing = set.union(*lines) - set.intersection(*lines)
    names = sorted({line.rpartition(" ")[0] for line in differing} & set(own))
    return ", ".join(names) or "those that follow the first ones"


def told(text: str) -> str:
    """What the first process that says something says; every process must ask at the same point."""
    if is_single_process():
        return text
    who = np.flatnonzero(gather((int(bool(text)),))[:, 0])
    return _read(exchange(_written(text))[who[0]]) if len(who) else ""


def agree(decision: object) -> bool:
    """Whether `decision` is true on any process; every process must ask at the same point."""
    if is_single_process():
        return bool(decision)
    return bool(np.any(gather((int(bool(decision)),))))


def agree_on_least(number: int) -> int:
    """The smallest `number` of any process; every process must ask at the same point."""
    if is_single_process():
        return number
    return int(np.min(gather((number,))))
