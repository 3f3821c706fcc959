"""Recovers the logs of a resumed run: no row that its checkpoint counts on may be missing."""

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import jax

from ritz.checkpoint.folder import CheckpointError
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback
from ritz.driver.processes.consensus import agree
from ritz.loggers.base import AbstractLogger
from ritz.loggers.checksums import RowsLostError
from ritz.types import State

_logger = logging.getLogger(__name__)

Account: TypeAlias = State

ACCEPT = "logs"
"""Entry of `accept_changes` that allows to go on without lost rows."""


def accounts(callbacks: Iterable[AbstractCallback], step: int) -> list[State]:
    """Accounts of the logs' rows before `step`, see `AbstractLogger.account`."""
    found = []
    for logger in _loggers(callbacks):
        account = logger.account(step)
        if account is not None:
            found.append(account)
    return found


def recover_logs(
    saved: Sequence[Account],
    driver: AbstractDriver,
    callbacks: Iterable[AbstractCallback],
    step: int,
    accept: Collection[str],
) -> None:
    """Restore the logs to the saved rows; logs that lost rows are rebuilt from others.

    Args:
        saved: The result of `accounts` when the run was saved.
        driver: The driver of the run.
        callbacks: Its callbacks.
        step: The first step that will be logged.
        accept: What may differ from the saved run.

    Raises:
        CheckpointError: On all processes, if a log lost rows that no other one has, unless that
            is accepted.
    """
    refusal = None
    if jax.process_index() == 0:
        refusal = _recover(saved, driver, _loggers(callbacks), step, accept)
    if agree(refusal is not None):
        raise refusal or CheckpointError("the first process misses rows of a log.")


def _recover(
    saved: Sequence[Account],
    driver: AbstractDriver,
    loggers: Sequence[AbstractLogger],
    step: int,
    accept: Collection[str],
) -> CheckpointError | None:
    """Recover all logs on one process; return the error if that is not possible, or None."""
    place = driver.working_dir, driver.stage_name
    intact: list[AbstractLogger] = []
    damaged: list[tuple[AbstractLogger, Account, RowsLostError]] = []
    for logger, account in _matched(loggers, saved, place):
        try:
            logger.recover(*place, step, account)
            intact.append(logger)
        except RowsLostError as error:
            damaged.append((logger, account, error))
    left = []
    for logger, account, error in damaged:
        source = _rebuilt(logger, account, intact, place, step)
        if source is None:
            left.append((logger, error))
        else:
            _logger.warning("%s; it was rebuilt from %s.", error, source)
    if not left:
        return None
    told = "; ".join(str(error) for _, error in left)
    if ACCEPT not in accept:
        return CheckpointError(
            f"Rows of the saved run are lost: {told}. No other log of the run has them. Put the "
            "file back.",
            accept=[ACCEPT],
        )
    for logger, error in left:
        _logger.warning("Going on without rows of the saved run: %s.", error)
        logger.set_aside(*place)
    return None


def _rebuilt(
    logger: AbstractLogger,
    account: Account,
    intact: Sequence[AbstractLogger],
    place: tuple[Path, str],
    step: int,
) -> str | None:
    """Rebuild a log from one that has its rows; return that one's file, or None."""
    for source in intact:
        try:
            logger.rebuild(*place, account, source.series(*place, step))
        except RowsLostError as error:
            _logger.debug("%s lacks something: %s", source.label, error)
        else:
            return str(source.file(*place))
    return None


def _matched(
    loggers: Sequence[AbstractLogger], saved: Sequence[Account], place: tuple[Path, str]
) -> list[tuple[AbstractLogger, Account]]:
    """The loggers that the saved run also had, each with its account."""
    left, found = list(saved), []
    for logger in loggers:
        file = logger.file(*place)
        for account in left:
            if file is not None and file.name == account["file"]:
                left.remove(account)
                found.append((logger, account))
                break
    return found


def _loggers(callbacks: Iterable[AbstractCallback]) -> list[AbstractLogger]:
    return [c for c in callbacks if isinstance(c, AbstractLogger)]
