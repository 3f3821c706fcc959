"""`ritz lattice`: train and evaluate wave functions on lattices."""

from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from ritz.cli.command_run import CommandRun
from ritz.cli.domain import Action, Domain, Invocation
from ritz.cli.lattice.build import Builder
from ritz.cli.lattice.config import LatticeRun
from ritz.cli.messages import under
from ritz.cli.stage_command import BUILDING, StageCommand, run_stages
from ritz.types import Settings


class _LatticeCommand(StageCommand):
    """A command of `ritz lattice`."""

    energy: ClassVar[str] = "Energy"
    builder: Builder

    @override
    def beginning(self, key: Any) -> Settings:
        if self.evaluates:
            state = self.trained_state()
            return {} if state is None else {"params": state.params}
        other = self.call.config.train.begin_from
        if other is None or self.running.resumed:
            return {}
        from ritz.cli.lattice.beginning import parameters_from

        with under("train.begin_from: ", BUILDING):
            return {"params": parameters_from(other, self.builder, key)}


def _command(call: Invocation, running: CommandRun) -> StageCommand:
    import ritz.lattice  # noqa: F401

    return _LatticeCommand(call, running, Builder(call.config))


def run(call: Invocation) -> None:
    """Train or evaluate.

    Raises:
        ValueError: If the configuration is wrong, or what a command needs is missing.
        SystemExit: See `WorkStage.run`.
        FolderInUseError: If another run goes on in the folder.
    """
    run_stages(call, _command)


DOMAIN = Domain(
    LatticeRun,
    {
        "train": Action(
            "Optimise a wave function on a lattice, or go on with it.",
            run,
            takes_saved="system",
        ),
        "evaluate": Action(
            "Estimate the energy and observables of a trained wave function.",
            run,
            takes_saved=True,
            begins_anew=True,
        ),
    },
    presets=Path(__file__).with_name("presets"),
    shorthands={"extent": "system.extent"},
)
