"""Messages of the library in the words of the command line."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ritz.folders.config import CONFIG
from ritz.folders.saved import CheckpointError

_MOST_CHANGES = 4
"""Differences that are listed."""
_LONGEST = 80
"""Longest difference that is told with its values, beside settings."""
_FREE = ("folder", "iterations", "accept_changes", "save_time_interval", "save_step_interval")
"""Settings that may always differ from those of the saved run, in whatever group."""


def reason(error: Exception) -> str:
    """An error in words: of one of the system, its file and what is wrong, without its number.

    An error without words is told by the name of its type.
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def longer(setting: str, given: int, most: int, unit: str) -> str:
    """A sentence that says how a run goes on in which nothing is left to do.

    Args:
        setting: The name of the number of steps.
        given: That number now.
        most: The largest one that the run had.
        unit: What is counted, such as "epochs".
    """
    if given >= most:
        return f"A larger {setting} goes on."
    return (
        f"{setting}={given} is less than the {most} {unit} of the run, so that "
        f"nothing was done: give more than {most} to go on, or another folder to begin anew."
    )


def accepting(group: str, names: Sequence[str]) -> str:
    """A sentence that says with which setting a run goes on all the same; empty without names.

    Args:
        group: The group of the setting `accept_changes`; empty if it is in none.
        names: What it must name.
    """
    setting = f"{group}.accept_changes".lstrip(".")
    listed = ", ".join(names)
    return f" To go on all the same, give {setting}='[{listed}]'." if names else ""


@contextlib.contextmanager
def advising_settings(group: str) -> Iterator[None]:
    """Lets errors of checkpoints advise the setting `accept_changes` in the place of an argument.

    Args:
        group: The group of the setting; empty if it is in none.

    Raises:
        ValueError: If the saved run does not fit.
    """
    try:
        yield
    except CheckpointError as error:
        raise ValueError(error.told + accepting(group, error.accept)) from error


def binding(changes: Sequence[str]) -> list[str]:
    """Those of some differences, "NAME was OLD, is NEW" each, that a saved run may not have."""
    return [line for line in changes if not set(_FREE) & {*line.partition(" ")[0].split(".")}]


def other_run(error: CheckpointError, folder: Path, changes: Sequence[str], other_way: str) -> str:
    """What is told of a run that does not fit the saved one: settings that differ, and the rest.

    Args:
        error: What the checkpoint says.
        folder: The run folder.
        changes: How the settings differ, "NAME was OLD, is NEW" each.
        other_way: How to begin anew, as the end of a sentence.

    Returns:
        The message; that of the checkpoint if it is about something else, or no setting differs.
    """
    lines = binding(changes)
    if not error.differences or not lines:
        return error.told
    return (
        f"{folder} holds another run. Settings that differ: {_listed(lines)}. What its checkpoint "
        f"says: {_listed([_short(line) for line in error.differences])}. Use the settings of that "
        f"run (--config {folder / CONFIG}), or {other_way}."
    )


def _short(line: str) -> str:
    """A difference without its values if they are long."""
    return line if len(line) <= _LONGEST else f"{line.partition(' was ')[0]} differs"


def _listed(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _MOST_CHANGES} more" * (len(lines) > _MOST_CHANGES)
    return f"{'; '.join(lines[:_MOST_CHANGES])}{more}"


@contextlib.contextmanager
def under(key: str, kinds: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Begins the messages of errors with the key of the setting that they are about.

    Args:
        key: What is put before the message, with all that separates them, such as "train." or
            "train.sampler: "; a message that begins with the key already stays as it is.
        kinds: The types of errors whose messages are changed.

    Raises:
        ValueError: With the message.
    """
    try:
        yield
    except kinds as error:
        told = str(error)
        if not told.startswith(key.rstrip(": ")):
            told = f"{key}{told}"
        raise ValueError(told) from error
