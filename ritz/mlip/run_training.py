"""Runs the driver with the callbacks that a configuration asks for."""

import time
from collections.abc import Sequence
from os import PathLike
from typing import Any

from ritz.callbacks import BestState, ReduceLROnPlateau
from ritz.checkpoint import Checkpoint, CheckpointError
from ritz.checkpoint.resume import saved_steps
from ritz.driver.callback import AbstractCallback
from ritz.mlip.best_members import BestMembers
from ritz.mlip.config import TrainingConfig
from ritz.mlip.epochs import EpochHistory, EpochProgress
from ritz.mlip.train_out import TrainOut
from ritz.mlip.training import AbstractTraining, PotentialTraining

MONITOR = "validation_loss"
"""What the scheduler and the choice of the best parameters go by."""


def run_training(
    driver: AbstractTraining,
    config: TrainingConfig,
    resume_from: str | PathLike[str] | None,
    callbacks: Sequence[Any],
    out: Any,
) -> list[TrainOut]:
    """Train for `config.iterations` epochs, and evaluate what came out, member by member."""
    history = EpochHistory()
    n_steps = config.iterations * driver.n_batches
    resume: Any = False
    if resume_from is not None:
        began, step = saved_steps(resume_from)
        n_steps, resume = n_steps + step - began, resume_from
    began_at = time.perf_counter()
    own = _callbacks(driver, config, resume_from is not None)
    driver.run(
        n_steps, out=out, callback=[history, *own, *callbacks],
        show_progress=False, timeit=config.timing, resume=resume,
    )  # fmt: skip
    trained_at = time.perf_counter()
    errors = driver.errors()
    now = time.perf_counter()
    timing = {"training": trained_at - began_at, "evaluation": now - trained_at}
    if history.rows:
        timing["epoch"] = timing["training"] / len(history.rows)
    counts = {"n_epochs": len(history.rows)}
    for split, data in zip(("train", "test"), driver.prepared.datasets, strict=True):
        counts[f"n_structures_{split}"] = 0 if data is None else len(data)
    members = [None] if isinstance(driver, PotentialTraining) else range(driver.n_members)
    found = []
    for member in members:
        own = {
            f"final_{name}": float(value if member is None else value[member])
            for name, value in errors.items()
        }
        found.append(TrainOut(
            history.table(member), {**own, **counts}, dict(timing),
            stop_message=driver.stop_message,
        ))  # fmt: skip
    return found


def _callbacks(
    driver: AbstractTraining, config: TrainingConfig, resumes: bool
) -> list[AbstractCallback]:
    found: list[AbstractCallback] = []
    if driver.has_validation:
        if config.use_scheduler:
            rate = config.method.learning_rate
            found.append(ReduceLROnPlateau(
                MONITOR, config.scheduler_factor, config.scheduler_patience,
                min_scale=min(1.0, config.scheduler_min_lr / rate),
            ))  # fmt: skip
        if config.save_best:
            alone = isinstance(driver, PotentialTraining)
            best = BestState(MONITOR, z=0, restore=True) if alone else BestMembers(MONITOR)
            found.append(best)
    elif config.use_scheduler:
        raise ValueError(
            "use_scheduler=True goes by the validation split, but there is none; set testpercent "
            "above 0, or give test_dataset=..."
        )
    if config.show_progress:
        found.append(EpochProgress(config.show_batch_progress))
    if config.checkpoint_dir is not None and config.checkpoint_interval:
        checkpoint = Checkpoint(
            config.checkpoint_dir, every_steps=config.checkpoint_interval * driver.n_batches,
            max_to_keep=config.max_checkpoints,
        )  # fmt: skip
        if not resumes and checkpoint.folder(driver).entries():
            raise CheckpointError(
                f"checkpoint_dir={config.checkpoint_dir!r} holds checkpoints of another run; give "
                f"resume_from={config.checkpoint_dir!r} to go on with it, another folder, or None."
            )
        found.append(checkpoint)
    return found
