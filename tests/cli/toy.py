"""A domain in one file: a quadratic function is minimised."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from ritz.checkpoint import Checkpoint
from ritz.cli.command_run import in_folder, say_dry
from ritz.cli.domain import Action, Domain, Invocation
from ritz.cli.results import saved_loss
from ritz.cli.settings.part_factory import PartFactory
from ritz.cli.settings.parts import Part
from ritz.loggers import CSVLog
from ritz.stages.contract import Contract
from ritz.stages.contracts import CALLBACK
from ritz.testing import QuadraticDriver


@dataclasses.dataclass(kw_only=True)
class Train:
    """How to minimise.

    Args:
        iterations: Steps.
        callbacks: Callbacks.
        accept_changes: What may differ when the run goes on.
    """

    iterations: int = 10
    callbacks: list[Part] = dataclasses.field(default_factory=list)
    accept_changes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class ToyRun:
    """A toy.

    Args:
        folder: Everything is written here.
        train: How to minimise.
    """

    contracts: ClassVar[Mapping[str, Contract]] = {"callbacks": CALLBACK}
    examples: ClassVar[Mapping[str, str]] = {"callbacks": "Timeout", "train": "iterations=20"}

    folder: str = "runs/toy"
    train: Train = dataclasses.field(default_factory=Train)


PARTS = PartFactory(ToyRun.contracts)


def train(call: Invocation) -> None:
    """Minimise, or go on with it."""
    given: Train = call.config.train
    driver = QuadraticDriver()
    callbacks = PARTS.made_list("train.callbacks", given.callbacks)
    with in_folder(call) as running:
        if call.dry_run:
            say_dry(call, "a toy")
            return
        saving = Checkpoint(
            running.checkpoints.absolute(), accept_changes=given.accept_changes, extend="longer"
        )
        with running.recorded(lambda: running.summarise({})):
            driver.run(
                given.iterations,
                out=CSVLog(running.folder / "train.csv"),
                resume=True,
                callback=[*callbacks, *running.callbacks(), saving],
                show_progress=call.progress,
            )
        result = running.summarise(saved_loss(running.checkpoints, "loss"))
        way = running.how_it_went("train.iterations", given.iterations, result)
        running.say(way, *running.picture("loss.svg"))


DOMAIN = Domain(ToyRun, {"train": Action("Minimise a quadratic function.", train)})
