"""Training of one potential or of a committee: the one way in for both."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ritz.driver.arguments import Plugins, listed
from ritz.driver.stop import StopReason
from ritz.mlip.arrays import default_device
from ritz.mlip.data.datasets import Featurizer
from ritz.mlip.potentials.predictions import save_predictions
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.config_fields import config_or_default
from ritz.mlip.training.driver import AbstractTraining
from ritz.mlip.training.prepare import GivenData, Splits, resolve
from ritz.mlip.training.run import TrainOut, run_training
from ritz.mlip.training.start import best_files, start_of

if TYPE_CHECKING:
    from ritz.mlip.potentials.base import AbstractMLIP

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Trainee:
    """What is trained: a potential, or the members of a committee."""

    descriptor: Featurizer | None
    """Computes the features; None for potentials without features."""
    make_driver: Callable[[Splits, TrainingConfig], AbstractTraining]
    """Makes the driver that trains it."""
    take: Callable[[AbstractTraining], Sequence["AbstractMLIP"]]
    """Takes the trained parameters from the driver; gives the potentials that have them."""
    load: Callable[[Path], "AbstractMLIP"]
    """Reads a potential from a file."""
    is_committee: bool = False

    def driver(self, given: GivenData, config: TrainingConfig | None) -> AbstractTraining:
        """The driver that trains it on the data that are given."""
        config = config_or_default("config", config, TrainingConfig)
        data = resolve(self.descriptor, config, given)
        with default_device(config.device):
            return self.make_driver(data, config)


def train(
    trainee: Trainee,
    given: GivenData,
    config: TrainingConfig,
    *,
    resume_from: str | PathLike[str] | None,
    in_total: bool,
    callback: Plugins,
    out: Plugins,
    folders: Sequence[Path] = (),
) -> list[TrainOut]:
    """Train, and write what the configuration asks for.

    Args:
        trainee: What is trained.
        given: The data.
        config: How to train.
        resume_from: See `AbstractMLIP.train`.
        in_total: See `AbstractMLIP.train`.
        callback: See `AbstractMLIP.train`.
        out: See `AbstractMLIP.train`.
        folders: Where each potential and its predictions are written; not if training diverges.

    Returns:
        History and errors of each potential.

    Raises:
        NotFiniteError: If parameters that are to be written are not finite.
    """
    began = time.perf_counter()
    start = start_of(resume_from, in_total, trainee.load, trainee.is_committee)
    config = start.config(config, given.structures is not None)
    data = resolve(trainee.descriptor, config, given)
    start.check_energies(data[0].atomic_energies)
    with default_device(config.device):
        driver = trainee.make_driver(data, config)
        ready = time.perf_counter()
        outs = run_training(driver, config, start, listed(callback), out)
    potentials = trainee.take(driver)
    if folders and driver.stop_reason is StopReason.DIVERGED:
        _logger.warning("Training diverged, so that nothing is written to %s.", folders[0].parent)
        folders = ()
    _save(potentials, best_files(driver, config, trainee.is_committee), folders)
    if config.save_energies or config.save_forces:
        working_dir = Path(driver.working_dir)
        for number, (potential, found) in enumerate(zip(potentials, outs, strict=True)):
            inside = working_dir / f"member_{number:03d}" if trainee.is_committee else working_dir
            inside = folders[number] if folders else inside
            found.energies = save_predictions(potential, data, config, inside)
    now = time.perf_counter()
    for found in outs:
        found.timing |= {"preparation": ready - began, "total": now - began}
    return outs


def _save(
    potentials: Sequence["AbstractMLIP"], best: Sequence[Path], folders: Sequence[Path]
) -> None:
    """Write the potentials, or none of them if any has parameters that are not finite."""
    models = [folder / "model.npz" for folder in folders]
    for potential in potentials if best or models else ():
        potential.check_finite()
    for paths in (models, best):
        for potential, path in zip(potentials, paths, strict=False):
            potential.save(path)
