"""Commands in run folders: the lock, what is saved, the summary and the picture."""

import contextlib
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ritz.checkpoint.ownership import take
from ritz.cli.domain import Invocation
from ritz.cli.domains import load
from ritz.cli.messages import accepting, binding, longer, other_run
from ritz.cli.processes import is_first
from ritz.cli.results import asked_for, facts
from ritz.cli.run_folder import KeepConfig, KeepTiming, RunFolder, changed
from ritz.cli.settings.yaml_text import load_yaml
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, never_live
from ritz.folders.saved import CheckpointError, entries, read_manifest
from ritz.folders.summary import add_result, drop_result
from ritz.folders.warnings_file import kept_warnings
from ritz.plotting import plot_runs
from ritz.types import Row, Settings

_logger = logging.getLogger("ritz")


def _endings() -> Iterator[str]:
    """Ends of names: nothing, and numbers for what is made in the same second."""
    return itertools.chain([""], (f"_{number}" for number in itertools.count(1)))


class StepsOfCommand(AbstractCallback):
    """Notes from which step on a command runs, and whether it takes any step."""

    decides = False
    is_live = never_live

    def __init__(self) -> None:
        self.first = 0
        """Updates that were applied before."""
        self.begun = False
        """Whether a step was begun; it may have been stopped before its update."""

    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        """Note the step at which the run begins."""
        self.first, self.begun = step, False

    def on_step_start(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Note that a step was begun."""
        self.begun = True


class CommandRun:
    """A command at work in its run folder.

    Args:
        call: The command.
    """

    def __init__(self, call: Invocation):
        self.call = call
        self.folder = Path(call.config.folder)
        self.checkpoints = self.folder / "checkpoints" / call.stage
        self.resumed = bool(entries(self.checkpoints))
        """Whether there is a run to go on with."""
        self.steps = StepsOfCommand()

    @property
    def is_first_process(self) -> bool:
        """Whether this process is the one that writes."""
        return jax.process_index() == 0

    def callbacks(self) -> list[AbstractCallback]:
        """Callbacks that keep configuration and timing, and note the steps of this command."""
        config = KeepConfig(self.folder, self.call.text, self.call.domain)
        return [config, KeepTiming(self.folder), self.steps]

    def check_seed(self, seed: int) -> None:
        """Refuse a seed that is not the one with which the saved run began.

        Raises:
            ValueError: If there is a saved run with another one.
        """
        saved = entries(self.checkpoints)
        try:
            manifest = read_manifest(saved[-1].path) if saved else {}
        except CheckpointError:
            return  # what is damaged is dealt with when the run begins
        began = ((manifest.get("configuration") or {}).get("run") or {}).get("seed", seed)
        if began != seed:
            raise ValueError(
                f"seed: the run in {self.folder} began with seed={began}, and goes on with its "
                f"random numbers, but the seed is {seed} now. Give seed={began}, or "
                f"{self._other_way}."
            )

    @contextlib.contextmanager
    def recorded(self, unfinished: Callable[[], object]) -> Iterator[None]:
        """Context manager around the run, so that there is a summary however it ends.

        Args:
            unfinished: Writes the summary of a run that gives up or is interrupted.

        Raises:
            ValueError: If the saved run does not fit; the message names settings.
        """
        try:
            yield
        except CheckpointError as error:
            told = self.refusal(error, self.call.action)
            raise ValueError(told + accepting(self.call.action, error.accept)) from error
        except (SystemExit, KeyboardInterrupt):  # it gave up, or was interrupted
            if self.is_first_process and self.folder.is_dir():
                unfinished()
            raise

    @property
    def _other_way(self) -> str:
        """How to begin anew, as the end of a sentence."""
        if load(self.call.domain).actions[self.call.action].begins_anew:
            return "give --anew, which sets the saved run aside and begins anew"
        return "another folder to begin anew"

    def set_aside(self, files: Sequence[str] = ()) -> Path:
        """Move checkpoints and rows of this command away, so that it begins anew.

        Its result is taken out of the summary.

        Args:
            files: Other files of the folder that belong to it.

        Returns:
            Where they are: a folder in `set_aside`, named by the command and the time.
        """
        name = time.strftime(f"{self.call.stage}_%Y%m%d_%H%M%S")
        places = (self.folder / "set_aside" / (name + more) for more in _endings())
        place = next(place for place in places if not place.exists())
        place.mkdir(parents=True)
        rows = self.folder.glob(f"{self.call.stage}.*")
        others = (file for file in map(self.folder.joinpath, files) if file.exists())
        for path in (*(entry.path for entry in entries(self.checkpoints)), *rows, *others):
            path.rename(place / path.name)
        drop_result(self.folder, self.call.stage)
        self.resumed = False
        return place

    def refusal(self, error: CheckpointError, *actions: str) -> str:
        """What is told of a run that does not fit the saved one.

        Args:
            error: What the checkpoint says.
            *actions: The actions on whose settings that depends.
        """
        changes = self.changes(*actions) or []
        return other_run(error, self.folder, changes, self._other_way)

    def is_unchanged(self) -> bool:
        """Whether the command has the settings of the saved run, but for those that are free."""
        changes = self.changes(self.call.action)
        return changes is not None and not binding(changes)

    def changes(self, *actions: str) -> list[str] | None:
        """How settings differ from those of the run in the folder, "NAME was OLD, is NEW" each.

        Args:
            *actions: The actions whose settings count, besides those that belong to no action.

        Returns:
            The differences; None if the folder has no configuration that can be read.
        """
        call = self.call
        others = tuple(f"{name}." for name in load(call.domain).actions if name not in actions)
        try:
            saved = RunFolder(self.folder).config
        except ValueError:  # it is damaged
            saved = None
        if saved is None:
            return None
        lines = changed(saved, load_yaml(call.text))
        return [line for line in lines if not line.startswith(others)]

    def summarise(self, result: Mapping[str, object], **more: Any) -> Settings:
        """Put the result into the summary, with steps and stop reason if there were steps.

        The first process writes it.

        Args:
            result: Numbers and text by name.
            **more: Further entries of the summary, beside those of this command.

        Returns:
            The entry of this command.
        """
        ended = facts(self.checkpoints) if self.checkpoints.is_dir() else {}
        whole = {**result, **ended}
        if self.is_first_process:
            add_result(self.folder, self.call.stage, whole, **more)
        return whole

    def how_it_went(
        self, setting: str, given: int, ended: Settings, unit: str = "steps", length: int = 1
    ) -> str:
        """Whether the run went on, and why it ended; empty for a new run, which has said so.

        Args:
            setting: The name of the number of steps, or of epochs and the like.
            given: That number.
            ended: The result, from `summarise`.
            unit: What the setting counts.
            length: Number of steps in one of them.
        """
        steps, message = ended["steps"], ended["message"]
        if not self.steps.begun:
            if ended["stop_reason"] in ("FINISHED", "STOPPED"):
                most = asked_for(self.checkpoints) // length
                advice = longer(setting, given, most, unit)
                return f"the run has ended: {message}. {advice}"
            return f"the run took no step: {message}. The same command goes on."
        if not self.resumed:
            return ""
        if steps > self.steps.first:
            return f"the run went on from step {self.steps.first} to step {steps}: {message}."
        group = setting[: setting.rfind(".") + 1]
        return (
            f"the run went on, but ended again before the update of step {steps}: {message}. To "
            f"get further, change {group}callbacks and give {group}accept_changes=[callbacks]."
        )

    def picture(self, name: str) -> list[str]:
        """A line that tells where the curves of the run were drawn; none if they could not be.

        The first process draws them.
        """
        if not self.is_first_process:
            return []
        try:
            drawn = plot_runs([self.folder], self.folder / name, view=self.call.view)
        except (ImportError, ValueError) as error:
            _logger.warning("No picture was drawn: %s", error)
            return []
        return [f"picture in {drawn}"]

    def say(self, *lines: str) -> None:
        """Print the lines that are not empty, and where everything is."""
        say(*filter(None, lines), f"everything in {self.folder}")


@contextlib.contextmanager
def in_folder(call: Invocation) -> Iterator[CommandRun]:
    """The run folder of a command, which belongs to it meanwhile unless nothing is written.

    Raises:
        ValueError: If it is the folder of another domain.
        FolderInUseError: If another run goes on in it.
    """
    folder = Path(call.config.folder)
    RunFolder(folder).check_domain(call.domain)
    with contextlib.ExitStack() as whole_run:
        if not call.dry_run:
            take(folder, whole_run.enter_context)
            if is_first():
                whole_run.enter_context(kept_warnings(folder))
        yield CommandRun(call)


def say(*lines: str) -> None:
    """Print each line to standard output, on the first process."""
    if is_first():
        sys.stdout.write("".join(f"{line}\n" for line in lines))


def say_dry(call: Invocation, *parts: str) -> None:
    """Print what a dry run has found, and that nothing was written."""
    say(f"{call.stage}: {', '.join(parts)}. Nothing was written.")
