"""`ritz relax`: relax structures from files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ritz.cli.command_run import CommandRun, in_folder, say, say_dry
from ritz.cli.domain import Action, Domain, Invocation
from ritz.cli.messages import accepting, advising_settings
from ritz.cli.output_files import check_output, placed
from ritz.cli.processes import is_first
from ritz.cli.relax.build import cell_of, model_of, optimizer_of
from ritz.cli.relax.config import CONTRACTS, RelaxRun
from ritz.cli.relax.output import as_text, counts, write
from ritz.cli.relax.structures import TableRow, read, refuse, tell_skipped
from ritz.cli.settings.part_factory import PartFactory
from ritz.cli.settings.yaml_text import load_yaml
from ritz.driver.callback import AbstractCallback
from ritz.folders.saved import CheckpointError
from ritz.loggers.base import AbstractLogger
from ritz.potentials import AbstractPotential
from ritz.types import Settings
from ritz.wording import counted

if TYPE_CHECKING:
    from ritz.relax import AbstractOptimizer

TEXT = """Relax structures from files, all at once, as in `ritz relax *.cif --model lennard-jones`.
The model is a trained potential, as its file or the run folder of ritz mlip train; or a class of
ritz.relax or any class path. With a folder, everything is written there, and the same command goes
on with it. Energies are in eV, lengths in Angstrom, pressures in GPa. The exit status is 0 if all
have converged, otherwise 1."""

_PARTS = PartFactory(CONTRACTS)

_GOAL = re.compile(r"(stages|convergence)\b")
"""How differences of checkpoints begin that are about where a relaxation ends."""


def run(call: Invocation) -> int:
    """Read, relax and write.

    Returns:
        The exit status.

    Raises:
        ValueError: If a setting is wrong, or no structure can be read.
        FolderInUseError: If another run goes on in the folder.
    """
    import ritz.relax  # noqa: F401

    _check(call.config)
    if call.config.folder is None:
        return _RelaxCommand(call, None).run()
    with in_folder(call) as running:
        return _RelaxCommand(call, running).run()


def _check(given: RelaxRun) -> None:
    """Refuse what is missing or out of range, before anything is read.

    Raises:
        ValueError: With the setting.
    """
    from ritz.checks import check_finite, check_positive

    missing = ["files"] * (not given.files) + ["--model"] * (given.model is None)
    if missing:
        files = "; files are names or patterns, such as new/*.cif" * (not given.files)
        model = (
            "; a model is a name such as lennard-jones, a file such as potential.npz, or the "
            "folder of a run of ritz mlip train"
        ) * (given.model is None)
        raise ValueError(
            f"{' and '.join(missing)} must be given{files}{model} (see ritz relax --help)"
        )
    check_positive("fmax", given.fmax)
    check_finite("pressure", given.pressure, "GPa")
    for name, least in (
        ("max_steps", 0),
        ("max_atoms", 1),
        ("every", 1),
        ("save_time_interval", 0),
    ):
        value = getattr(given, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, but {value} was given.")
    if given.folder is not None and given.checkpoint is not None:
        raise ValueError("checkpoint: the run folder has the checkpoints; leave out one of them.")


class _RelaxCommand:
    """A command `ritz relax`: reads, relaxes and writes structures.

    Args:
        call: The command.
        running: The command in its folder; None if it has none.
    """

    def __init__(self, call: Invocation, running: CommandRun | None):
        self.call, self.running = call, running
        self.given: RelaxRun = call.config
        self.folder = Path() if running is None else running.folder

    def run(self) -> int:
        """Relax, write the results and print the table; returns the exit status."""
        given = self.given
        assert given.model is not None
        model = model_of(given.model)
        optimizer, cell = optimizer_of(given.optimizer), cell_of(given)
        callbacks = _PARTS.made_list("callbacks", given.callbacks)
        rows = read(given.files)
        refuse(rows, model, cell)
        tell_skipped(rows)
        good = [row for row in rows if row.given is not None]
        check_output("output", given.output, len(good))
        if self.call.dry_run:
            say_dry(self.call, f"{counted(len(good), 'structure')}; everything can be built")
            return 0
        settings: Settings = {"cell": cell, "callback": callbacks}
        if given.max_atoms is not None:
            settings["max_atoms"] = given.max_atoms
        if self.running is None:
            with advising_settings(""):
                self._relax(good, model, optimizer, settings)
        else:
            settings["callback"] = [*callbacks, *self.running.callbacks()]
            running = self.running
            with running.recorded(lambda: running.summarise({})):
                self._relax(good, model, optimizer, settings)
        self._report(rows)
        return 0 if all(row.status == "converged" for row in rows) else 1

    def _relax(
        self,
        rows: Sequence[TableRow],
        model: AbstractPotential,
        optimizer: "AbstractOptimizer",
        settings: Settings,
    ) -> None:
        """Relax, and put the results into the rows."""
        from ritz.relax import relax

        given, saving = self.given, self._saving()
        settings["callback"] = [*settings["callback"], *saving]
        try:
            found = relax(
                [row.given for row in rows if row.given is not None],
                model,
                given.fmax,
                optimizer,
                given.max_steps,
                out=self._loggers(),
                show_progress=self.call.progress,
                resume=bool(saving),
                **settings,
            )
        except CheckpointError as error:
            self._refuse_other_goal(error)
            raise
        for place, row in enumerate(rows):
            row.energy, row.fmax = float(found.energy[place]), float(found.fmax[place])
            row.status, row.steps = found.status[place], int(found.steps[place])
            row.relaxed = found.atoms[place]
            if row.status == "failed":
                row.reason = found.reason[place]

    def _refuse_other_goal(self, error: CheckpointError) -> None:
        """Say how structures are relaxed further, if the saved run had another goal.

        Raises:
            ValueError: If it had.
        """
        if self.running is None or not any(map(_GOAL.match, error.differences)):
            return
        output = placed(self.folder, self.given.output)
        further = f"To relax them further, give {output} as files, and another folder."
        if not output.is_file():  # the run was interrupted
            further = "Give another folder to begin anew."
        raise ValueError(
            f"{self.folder} holds a relaxation with another fmax, max_steps, optimizer or cell, "
            f"and structures that have finished there do not run again. {further}"
            f"{accepting('', error.accept)}"
        ) from error

    def _saving(self) -> list[AbstractCallback]:
        """Checkpoints in the run folder, or in the folder that is given for them; none without."""
        from ritz.checkpoint import Checkpoint

        given = self.given
        folder = given.checkpoint if self.running is None else self.running.checkpoints.absolute()
        if folder is None:
            return []
        return [
            Checkpoint(
                folder,
                every_seconds=given.save_time_interval,
                accept_changes=given.accept_changes,
                configuration={"stage": self.call.stage, "run": load_yaml(self.call.text)},
            )
        ]

    def _loggers(self) -> list[AbstractLogger | str]:
        """Loggers and the trajectory."""
        from ritz.loggers import CSVLog
        from ritz.relax import Trajectory

        given = self.given
        found: list[AbstractLogger | str] = []
        if self.running is not None:
            log = self.folder / f"{self.call.stage}.csv"
            found.append(CSVLog(log, without=["structures"]))  # has a value for each slot
        if given.log:
            found.append(str(placed(self.folder, given.log)))
        if given.trajectory:
            found.append(Trajectory(placed(self.folder, given.trajectory), every=given.every))
        return found

    def _report(self, rows: Sequence[TableRow]) -> None:
        """Write structures, table and summary, and print the table."""
        output, table = (placed(self.folder, n) for n in (self.given.output, self.given.table))
        if is_first():
            write(rows, output, table)
        found = counts(rows)
        told = ", ".join(f"{number} {status}" for status, number in found.items())
        lines = [*as_text(rows), f"{told}; {output}, {table}"]
        if self.running is None:
            say(*lines)
            return
        result = self.running.summarise({"structures": len(rows), **found})
        way = self._how_it_went(self.running, result, output)
        self.running.say(way, *lines, *self.running.picture("fmax.png"))

    def _how_it_went(self, running: CommandRun, result: Settings, output: Path) -> str:
        """Whether a saved run went on; empty for a new one."""
        if running.steps.begun:
            return running.how_it_went("max_steps", self.given.max_steps, result)
        return (
            "the run has ended, and nothing was left to do; to relax the structures further, give "
            f"{output} and another folder."
        )


DOMAIN = Domain(RelaxRun, {"": Action(TEXT, run, takes_saved="files")}, files="files")
