"""Runs a driver with the callbacks that a configuration asks for; history and result of a run."""

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np
import pandas as pd
from jaxtyping import PyTree

from ritz.callbacks import ReduceLROnPlateau
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.driver.arguments import Plugins
from ritz.driver.callback import AbstractCallback
from ritz.driver.processes.division import on_host
from ritz.extras import needs
from ritz.html import HtmlFields
from ritz.mlip.training.callbacks import EpochHistory, EpochProgress
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.driver import AbstractTraining
from ritz.mlip.training.start import Start, steps_in_total
from ritz.picture_style import DPI, open_frame, whole_steps
from ritz.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {
    "RMSE_train": "energy, training",
    "RMSE_test": "energy, validation",
    "RMSE_force_train": "forces, training",
    "RMSE_force_test": "forces, validation",
}


@dataclasses.dataclass
class TrainOut(HtmlFields):
    """The history and the result of a training run.

    Attributes:
        errors: By epoch: `RMSE_train`, `MAE_train`, `RMSE_test`, `MAE_test` in eV/atom,
            `RMSE_force_train` and so on in eV/Angstrom, `validation_loss`, numbers that callbacks
            have added to the row, `learning_rate`, and the `seconds` since the run began.
        stats: The errors of the potential that was returned, over the whole of both splits, as
            `final_RMSE_train` and so on, and how many structures and atoms there were.
        timing: Seconds by part of the work.
        energies: Predicted energies of both splits, if they were asked for; see `PredictOut`.
        stop_message: Why the run ended.
        stop_reason: The same in a word, see `ritz.driver.StopReason`.
    """

    errors: pd.DataFrame
    stats: dict[str, float]
    timing: dict[str, float] = dataclasses.field(default_factory=dict)
    energies: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    stop_message: str = ""
    stop_reason: str = ""

    @property
    def has_forces(self) -> bool:
        """Whether errors of forces are known."""
        return "RMSE_force_train" in self.errors

    def __str__(self) -> str:
        lines = [
            f"Training: {counted(len(self.errors), 'epoch')}; {self.stop_message or 'no message'}."
        ]
        for split in ("train", "test"):
            energy = self.stats.get(f"final_RMSE_{split}")
            if energy is None:
                continue
            mae = self.stats[f"final_MAE_{split}"]
            line = f"{split:5s}  energy RMSE {1e3 * energy:.3f}, MAE {1e3 * mae:.3f} meV/atom"
            force = self.stats.get(f"final_RMSE_force_{split}")
            if force is not None and np.isfinite(force):
                mae = self.stats[f"final_MAE_force_{split}"]
                line += f"; force RMSE {force:.4f}, MAE {mae:.4f} eV/Angstrom"
            lines.append(line)
        return "\n".join(lines)

    def plot_training_errors(self, outfile: str | PathLike[str] | None = None) -> "Figure":
        """Energy errors by epoch, as a figure of matplotlib, written to `outfile` if given."""
        return self._figure([("RMSE_train", "RMSE_test")], outfile)

    def plot_force_errors(self, outfile: str | PathLike[str] | None = None) -> "Figure":
        """Force errors by epoch, see `plot_training_errors`.

        Raises:
            ValueError: If there are none.
        """
        if not self.has_forces:
            raise ValueError("there are no force errors; train with force_weight above 0.")
        return self._figure([("RMSE_force_train", "RMSE_force_test")], outfile)

    def plot_training_summary(self, outfile: str | PathLike[str] | None = None) -> "Figure":
        """Energy errors, and force errors if there are any, see `plot_training_errors`."""
        panels = [("RMSE_train", "RMSE_test")]
        if self.has_forces:
            panels.append(("RMSE_force_train", "RMSE_force_test"))
        return self._figure(panels, outfile)

    def _figure(
        self, panels: Sequence[tuple[str, ...]], outfile: str | PathLike[str] | None
    ) -> "Figure":
        with needs("A plot", "plot"):
            from matplotlib.figure import Figure

        figure = Figure((5.5 * len(panels), 4), layout="constrained")
        for number, names in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), number + 1)
            forces = "force" in names[0]
            for name in names:
                if name in self.errors:
                    values = self.errors[name] * (1 if forces else 1e3)
                    marker = "o" if len(values) == 1 else None  # which a line does not show
                    axes.plot(self.errors.index, values, marker=marker, label=_LABELS[name])
            drawn = [y for line in axes.get_lines() for y in np.asarray(line.get_ydata()) if y > 0]
            if drawn and max(drawn) > 5 * min(drawn):  # else a logarithmic axis has few labels
                axes.set_yscale("log")
            axes.set_xlabel("epoch")
            whole_steps(axes)
            open_frame(axes)
            axes.set_ylabel("RMSE (eV/Å)" if forces else "RMSE (meV/atom)")
            if axes.get_lines():
                axes.legend(frameon=False)
        if outfile is not None:
            figure.savefig(outfile, dpi=DPI)
        return figure


_logger = logging.getLogger(__name__)

MONITOR = "validation_loss"
"""Metric by which the rate is lowered and the best parameters are chosen."""


def run_training(
    driver: AbstractTraining,
    config: TrainingConfig,
    start: Start,
    callbacks: Sequence[AbstractCallback],
    out: Plugins,
) -> list[TrainOut]:
    """Train for `config.iterations` epochs, and evaluate what came out, member by member.

    Args:
        driver: The driver.
        config: How to train.
        start: Where it begins.
        callbacks: Besides those that the configuration asks for.
        out: Where rows go.

    Raises:
        CheckpointError: If the saved run is another one, or there is one that is not to go on.
    """
    history = EpochHistory()
    resume = start.resume
    n_steps = steps_in_total(config.iterations, driver.n_batches, resume)
    began_at = time.perf_counter()
    start.put_into(driver)
    restores = config.save_best and driver.has_validation
    initial = on_host(driver.parameters) if restores else None
    own = _callbacks(driver, config, start, resume is not None and resume.extend(n_steps))
    try:
        driver.run(
            n_steps,
            out=out,
            callback=[history, *own, *callbacks],
            show_progress=False,
            timeit=config.timing,
            on_divergence=config.on_divergence,
            resume=False if resume is None else os.fspath(resume.path),
        )
    except CheckpointError as error:
        raise CheckpointError(
            error.told, error.accept, error.differences, "in the configuration"
        ) from error
    trained_at = time.perf_counter()
    if initial is not None and driver.step_count > 0:
        _warn_if_unchanged(driver, initial)
    _logger.info("Computing the errors of the potential that was kept, over all structures.")
    errors = driver.errors()
    now = time.perf_counter()
    timing = {"training": trained_at - began_at, "evaluation": now - trained_at}
    if history.rows:
        timing["epoch"] = timing["training"] / len(history.rows)
    counts = {"n_epochs": len(history.rows)}
    for split, data in zip(("train", "test"), driver.prepared.datasets, strict=True):
        counts[f"n_structures_{split}"] = 0 if data is None else len(data)
    members = range(driver.n_members) if driver.is_committee else [None]
    found = []
    for member in members:
        own = {
            f"final_{name}": float(value if member is None else value[member])
            for name, value in errors.items()
        }
        found.append(
            TrainOut(
                history.table(member),
                {**own, **counts},
                dict(timing),
                stop_message=driver.stop_message,
                stop_reason="" if driver.stop_reason is None else driver.stop_reason.name,
            )
        )
    return found


def _warn_if_unchanged(driver: AbstractTraining, initial: PyTree) -> None:
    """Warn if training has restored the parameters with which it began."""
    now = on_host(driver.parameters)
    pairs = zip(jax.tree.leaves(initial), jax.tree.leaves(now), strict=True)
    unchanged = np.ones(driver.n_members, bool)
    for before, after in pairs:
        before, after = (np.reshape(x, (driver.n_members, -1)) for x in (before, after))
        unchanged &= np.all(before == after, axis=1)
    if np.any(unchanged):
        members = ", ".join(map(str, np.flatnonzero(unchanged)))
        _logger.warning(
            "The result has the parameters with which training began%s: of all that were "
            "validated, they have the lowest error. (An epoch validates the parameters before its "
            "last update.) Train for more epochs or with a smaller rate, or give save_best=False "
            "for the last parameters.",
            f", in the members {members}" if driver.is_committee else "",
        )


def _callbacks(
    driver: AbstractTraining, config: TrainingConfig, start: Start, extend: bool | Literal["longer"]
) -> list[AbstractCallback]:
    found: list[AbstractCallback] = []
    if driver.has_validation:
        if config.use_scheduler:
            rate = config.optimiser.learning_rate
            found.append(
                ReduceLROnPlateau(
                    MONITOR,
                    config.scheduler_factor,
                    config.scheduler_patience,
                    min_scale=min(1.0, config.scheduler_min_lr / rate),
                )
            )
        if config.save_best:
            found.append(_best_parameters(driver, config, start))
    elif config.use_scheduler:
        raise ValueError(
            "use_scheduler=True goes by the validation split, but there is none; set testpercent "
            "above 0, or give test_dataset=..."
        )
    if config.show_progress:
        found.append(EpochProgress(config.show_batch_progress))
    if config.checkpoint_dir is not None and config.checkpoint_interval:
        found.append(_checkpoint(driver, config, start, extend))
    return found


def _best_parameters(
    driver: AbstractTraining, config: TrainingConfig, start: Start
) -> AbstractCallback:
    """Keeps the best parameters, beginning with those of a potential that was given."""
    score = None
    if start.potentials:
        errors = driver.errors()
        alpha = config.weights[1][0]
        score = (1 - alpha) * errors["RMSE_test"]
        score = score + alpha * np.nan_to_num(errors.get("RMSE_force_test", 0.0), nan=0.0)
    return driver.best_parameters(MONITOR, score)


def _checkpoint(
    driver: AbstractTraining, config: TrainingConfig, start: Start, extend: bool | Literal["longer"]
) -> Checkpoint:
    assert config.checkpoint_dir is not None
    checkpoint = Checkpoint(
        config.checkpoint_dir,
        every_steps=config.checkpoint_interval * driver.n_batches,
        max_to_keep=config.max_checkpoints,
        accept_changes=config.accept_changes,
        extend=extend,
    )
    folder = checkpoint.folder(driver)
    there = folder.entries()
    if start.potentials:
        for entry in there:
            folder.set_aside(entry)
        if there:
            _logger.info(
                "%s in %s/set_aside.", counted(len(there), "older checkpoint", "is"), folder.path
            )
    elif start.resume is None and there:
        raise CheckpointError(
            f"checkpoint_dir={config.checkpoint_dir!r} holds checkpoints of another run; give "
            f"resume_from={config.checkpoint_dir!r} to go on with it, another folder, or None."
        )
    return checkpoint
