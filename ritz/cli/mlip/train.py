"""`ritz mlip train`: train a potential, or a committee."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ritz.checks import check_count
from ritz.cli.command_run import CommandRun, in_folder, say, say_dry
from ritz.cli.domain import Invocation
from ritz.cli.messages import longer, under
from ritz.cli.mlip.beginning import Beginning
from ritz.cli.mlip.config import CONTRACTS, MLIPRun
from ritz.cli.mlip.data import check_labels, species_of, splits
from ritz.cli.settings.part_factory import PartFactory
from ritz.driver.stop import StopReason
from ritz.loggers import CSVLog, JsonLog
from ritz.mlip import (
    AbstractMLIP,
    CommitteeConfig,
    CommitteePotential,
    Structure,
    StructureDataset,
    TrainingConfig,
    TrainOut,
)
from ritz.mlip.arrays import find_device
from ritz.mlip.committee.results import METADATA
from ritz.mlip.descriptors.pairs import kinds_of
from ritz.mlip.potentials.files import NotFiniteError
from ritz.mlip.training.start import Resume, batches_of
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger("ritz")

MODEL = "potential.npz"
COMMITTEE = "committee"
COMMITTEE_FILE = f"{COMMITTEE}/{METADATA}"

_FEW = 5
"""Number of structures below which errors of validation say little."""

PARTS = PartFactory(CONTRACTS)


def train(call: Invocation) -> None:
    """Train on structures from files, or go on with that.

    Raises:
        ValueError: If the configuration is wrong, or files cannot be read.
        SystemExit: If training has diverged.
        FolderInUseError: If another run goes on in the folder.
    """
    with in_folder(call) as running:
        _train(call, running)


def _train(call: Invocation, running: CommandRun) -> None:
    given: MLIPRun = call.config
    check_count("members", given.members, 1)
    beginning = Beginning(given)
    train, test, energies = splits(given, beginning.energies)
    species = sorted(species_of(train))
    known = {"species": species, "structures": train, "like": beginning.descriptor}
    potential = PARTS.made("potential", given.potential, **known)
    beginning.check_form(potential)
    config = _config(given, energies, running.checkpoints, call.progress)
    if not running.resumed and not given.data.test:
        _warn_of_few(len(train), len(test), config.testpercent)
    check_labels(config, train)
    for place, structure in enumerate(test):
        kinds_of(structure, potential.species, place)  # before a data set asks for its energies
    datasets: dict[str, Any] = {
        "train_dataset": StructureDataset(train, potential.descriptor, energies),
        "test_dataset": None,
    }
    if test:
        datasets["test_dataset"] = StructureDataset(test, potential.descriptor, energies)
    if call.dry_run:
        say_dry(
            call,
            repr(potential),
            f"{counted(len(train), 'structure')} of {', '.join(species)}",
            f"{len(test)} held out",
            f"{counted(config.iterations, 'epoch')}; everything can be built",
        )
        return
    with under("train.device: "):
        find_device(config.device)
    n_batches = batches_of(len(train), config.batch_size)
    if _is_done(running, given, config, n_batches):
        most = Resume(running.checkpoints).asked_for // n_batches
        advice = longer("train.iterations", config.iterations, most, "epochs")
        say(f"all epochs are done; everything in {running.folder}. {advice}")
        return
    callbacks = PARTS.made_list("train.callbacks", given.train.callbacks)
    log = running.folder / call.stage
    settings = {
        **datasets,
        "config": config,
        "in_total": True,
        "resume_from": running.checkpoints if running.resumed else beginning.path,
        "callback": [*callbacks, *running.callbacks()],
        "out": [JsonLog(log, save_params=False), CSVLog(log)],
    }
    with running.recorded(lambda: running.summarise({"RMSE_train": math.nan})):
        found, outs, calibration = _trained_with(potential, given, config, settings, test)
    picture = running.folder / "errors.png"
    if running.is_first_process:
        outs[0].errors.to_csv(running.folder / "errors.csv")
        outs[0].plot_training_summary(picture)
    ended = running.summarise(found.stats)
    told = _nothing_left(running, config, n_batches, ended)
    running.say(told, str(found), calibration, f"picture in {picture}")


def _warn_of_few(n_train: int, n_held_out: int, testpercent: float) -> None:
    """Warn if the default of `testpercent` leaves hardly anything for validation."""
    if n_held_out < _FEW and testpercent == TrainingConfig.testpercent:
        _logger.warning(
            "Only %d of %s held out for validation, too few for a reliable error: give a larger "
            "train.testpercent (it is %g), or data.test.",
            n_held_out,
            counted(n_train + n_held_out, "structure", "is"),
            testpercent,
        )


def _nothing_left(
    running: CommandRun, config: TrainingConfig, n_batches: int, ended: Settings
) -> str:
    """Why a command took no step; empty if it took some."""
    if running.steps.begun or not running.resumed:
        return ""
    name, given = "train.iterations", config.iterations
    if Resume(running.checkpoints, in_total=True).has_completed(given, n_batches):
        return (
            f"the saved run has {counted(given, 'epoch')} or more, and none was added; a larger "
            f"{name} goes on."
        )
    return running.how_it_went(name, given, ended, "epochs", n_batches)


def _trained_with(
    potential: AbstractMLIP,
    given: MLIPRun,
    config: TrainingConfig,
    settings: dict[str, Any],
    test: Sequence[Structure],
) -> tuple[Any, list[TrainOut], str]:
    """Train a potential or a committee of it, and write it; and tell how a committee is calibrated.

    Args:
        potential: What is trained.
        given: The configuration.
        config: How to train.
        settings: Further arguments of `train`.
        test: What is held out, by which committees are calibrated.
    """
    folder = Path(given.folder)
    try:
        if given.members > 1:
            committee = CommitteePotential.of(potential)
            members = CommitteeConfig(
                given.members, base_seed=config.run_seed, output_dir=folder / COMMITTEE
            )
            result = committee.train(committee_config=members, **settings)
            _check_end(result.trainouts[0])
            return result, result.trainouts, _calibrated(committee, test, folder / COMMITTEE)
        found = potential.train(**settings)
        _check_end(found)
        potential.save(folder / MODEL)
    except NotFiniteError as error:
        raise SystemExit(str(error)) from error
    return found, [found], ""


def _calibrated(committee: CommitteePotential, test: Sequence[Structure], folder: Path) -> str:
    """Calibrate a committee by what was held out, and tell the factors; empty if it cannot be."""
    try:
        return f"calibration: {committee.calibrate(test, folder)}"
    except ValueError as error:
        _logger.warning("The committee is not calibrated: %s", error)
        return ""


def _check_end(out: TrainOut) -> None:
    """End a run that has diverged with the status 1, before anything of it is written."""
    if out.stop_reason == StopReason.DIVERGED.name:
        raise SystemExit(f"training diverged, and no potential is written: {out.stop_message}")


def _config(given: MLIPRun, energies: Any, checkpoints: Path, progress: bool) -> TrainingConfig:
    own = {f.name: getattr(given.train, f.name) for f in dataclasses.fields(given.train)}
    del own["callbacks"]
    own["method"] = PARTS.made("train.method", own["method"])
    with under("train.", (ValueError, TypeError, NotImplementedError)):
        return TrainingConfig(
            **own, atomic_energies=energies, show_progress=progress, checkpoint_dir=str(checkpoints)
        )


def _is_done(running: CommandRun, given: MLIPRun, config: TrainingConfig, n_batches: int) -> bool:
    """Whether all epochs were trained with these settings, and the result was written.

    With other settings the checkpoint says whether they fit.
    """
    if not running.resumed or not running.is_unchanged():
        return False
    result = COMMITTEE_FILE if given.members > 1 else MODEL
    saved = Resume(running.checkpoints, in_total=True)
    is_trained = saved.has_completed(config.iterations, n_batches)
    return is_trained and (running.folder / result).is_file()
