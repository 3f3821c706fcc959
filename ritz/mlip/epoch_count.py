"""How many steps training takes: the one place where epochs are counted."""

import dataclasses
from os import PathLike

from ritz.checkpoint.resume import saved_steps
from ritz.mlip.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Resume:
    """How training goes on with a saved run."""

    path: str | PathLike[str]
    """A checkpoint, or a folder of them."""
    in_total: bool = False
    """Whether `iterations` counts epochs from the beginning of the saved run, instead of those that
    are added to the ones that it has completed."""


def batches_of(n_structures: int, batchsize: int) -> int:
    """How many batches, and so steps, an epoch has."""
    return -(-n_structures // batchsize)


def steps_in_total(iterations: int, n_batches: int, resume: Resume | None) -> int:
    """Up to which step training goes, counted from the beginning of the run.

    Runs end with whole epochs: what is saved in
    the middle of one has completed those before it.

    Args:
        iterations: As many epochs as are asked for.
        n_batches: Steps of an epoch.
        resume: The saved run, if there is one.
    """
    done = 0
    if resume is not None and not resume.in_total:
        saved = saved_steps(resume.path)
        done = (saved.step - saved.began) // n_batches
    return (done + iterations) * n_batches


def extends(n_steps: int, config: TrainingConfig, resume: Resume | None) -> bool:
    """Whether a saved run that a callback has ended is to go on."""
    if resume is None:
        return False
    saved = saved_steps(resume.path)
    if not resume.in_total:
        return n_steps > saved.step - saved.began
    return n_steps > saved.target - saved.began or "callbacks" in config.accept_changes
