"""Messages of the library in the words of the command line."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ritz.folders.config import CONFIG
from ritz.folders.saved import CheckpointError

_MOST_CHANGES = 4
"""Changed settings that are listed."""
_FREE = ("folder", "iterations", "accept_changes", "save_time_interval", "save_step_interval")
"""Last words of settings that may always differ from those of the saved run."""
_ADVICE = re.compile(r"give accept_changes=\[(.*?)\] (?:to Checkpoint|in the configuration)\.")


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
        f"{setting}={given} is less than the {most} {unit} that the run was given before, so that "
        f"nothing was done: give more than {most} to go on, or another folder to begin anew."
    )


@contextlib.contextmanager
def advising_settings(group: str) -> Iterator[None]:
    """Lets errors of checkpoints advise the setting `accept_changes` in the place of an argument.

    Args:
        group: The group of the setting; empty if it is in none.

    Raises:
        ValueError: If the saved run does not fit.
    """
    name = f"{group}.accept_changes".lstrip(".")

    def setting(found: re.Match[str]) -> str:
        names = found[1].replace("'", "")
        return f"give {name}='[{names}]'."

    try:
        yield
    except CheckpointError as error:
        raise ValueError(_ADVICE.sub(setting, str(error))) from error


def other_run(told: str, folder: Path, changes: Sequence[str]) -> str:
    """The message of a run that does not fit the saved one, in settings of the configuration.

    Args:
        told: The message of the checkpoint.
        folder: The run folder.
        changes: How the settings differ, "NAME was OLD, is NEW" each.

    Returns:
        The message; unchanged if it is about something else, or no setting can be the cause.
    """
    names = [change.partition(" ")[0].rpartition(".")[2] for change in changes]
    lines = [line for line, name in zip(changes, names, strict=True) if name not in _FREE]
    if "is of another run" not in told or not lines:
        return told
    more = f"; and {len(lines) - _MOST_CHANGES} more" * (len(lines) > _MOST_CHANGES)
    _, _, hint = told.partition("or another folder.")
    return (
        f"{folder} holds a run with other settings: {'; '.join(lines[:_MOST_CHANGES])}{more}. Use "
        f"those of that run (--config {folder / CONFIG}), or another folder.{hint}"
    )


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
