"""Where training begins and how many steps it takes: anew, from a checkpoint, from a potential."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ritz.checkpoint.resume import saved_steps
from ritz.mlip.models.abstract_model import Normalisation
from ritz.mlip.training.config import TrainingConfig
from ritz.types import Settings

if TYPE_CHECKING:
    from ritz.mlip.training.driver import AbstractTraining


def batches_of(n_structures: int, batchsize: int) -> int:
    """Number of batches, and so of steps, in an epoch."""
    return -(-n_structures // batchsize)


@dataclasses.dataclass(frozen=True)
class Resume:
    """A saved run to go on with, and its step counts."""

    path: str | PathLike[str]
    """A checkpoint, or a folder of them."""
    in_total: bool = False
    """Whether `iterations` counts epochs from the beginning of the saved run, instead of those that
    are added to the ones that it has completed."""

    @property
    def completed(self) -> int:
        """Number of steps that the saved run has completed.

        Raises:
            CheckpointError: If there is no checkpoint.
        """
        saved = saved_steps(self.path)
        return saved.step - saved.began

    @property
    def asked_for(self) -> int:
        """Number of steps that the saved run was to take."""
        saved = saved_steps(self.path)
        return saved.target - saved.began

    def has_completed(self, iterations: int, n_batches: int) -> bool:
        """Whether nothing is left of `iterations` epochs of `n_batches` steps."""
        return self.completed >= steps_in_total(iterations, n_batches, self)

    def extend(self, n_steps: int) -> bool | Literal["longer"]:
        """Whether a saved run that a callback has ended goes on, as `Checkpoint` is told."""
        return "longer" if self.in_total else n_steps > self.completed


def steps_in_total(iterations: int, n_batches: int, resume: Resume | None) -> int:
    """Step at which training ends, counted from the beginning of the run.

    Runs end with whole epochs: a run that was saved in the middle of an epoch has completed those
    before it.

    Args:
        iterations: As many epochs as are asked for.
        n_batches: Steps of an epoch.
        resume: The saved run, if there is one.
    """
    done = 0 if resume is None or resume.in_total else resume.completed // n_batches
    return (done + iterations) * n_batches


BEST = "best_model.npz"
"""The file in `checkpoint_dir` with the potential that was best in validation."""

_BEST_OF = re.compile(r"best_model_\d+\.npz")


def best_files(
    driver: "AbstractTraining", config: TrainingConfig, of_committee: bool
) -> list[Path]:
    """Where the potential that was best in validation is written, or that of each member."""
    if not config.save_best or config.checkpoint_dir is None or not driver.has_validation:
        return []
    folder = Path(driver.working_dir) / config.checkpoint_dir
    if not of_committee:
        return [folder / BEST]
    return [folder / f"best_model_{number:03d}.npz" for number in range(driver.n_members)]


class TrainedPotential(Protocol):
    """A trained potential with which training may begin."""

    parameters: PyTree
    """The parameters; None before training."""
    atomic_energies: dict[str, float]
    """Energies of free atoms by species, in eV."""

    @property
    def species(self) -> Sequence[str]:
        """Chemical symbols that it knows."""
        ...

    def check_trained(self) -> Normalisation:
        """The scales of features and energies."""
        ...


@dataclasses.dataclass(frozen=True)
class Start:
    """Where training begins; see `start_of`."""

    resume: Resume | None = None
    """The checkpoint to go on with."""
    potentials: Sequence[TrainedPotential] = ()
    """Or trained potentials, one for each member, from whose parameters it begins."""

    def config(self, config: TrainingConfig, from_structures: bool) -> TrainingConfig:
        """With features, energies and atoms scaled as the trained potentials have them.

        Args:
            config: How to train.
            from_structures: Whether the data set is made by the configuration.

        Raises:
            ValueError: If the configuration is not allowed for a new run.
        """
        if self.resume is None:
            config.check_beginning()
        if not self.potentials:
            return config
        known = self.potentials[0].check_trained()
        changes: Settings = {
            "E_shift": float(known.e_shift),
            "E_scaling": float(known.e_scaling),
        }
        if np.size(known.mean):
            stats = {"mean": np.asarray(known.mean), "std": np.asarray(known.std)}
            changes |= {"normalize_features": True, "feature_stats": stats}
        if from_structures and config.atomic_energies is None:
            energies = self.potentials[0].atomic_energies
            species = self.potentials[0].species if energies else ()
            changes["atomic_energies"] = {s: energies.get(s, 0.0) for s in species}
        return dataclasses.replace(config, **changes)

    def check_energies(self, atomic_energies: Mapping[str, float]) -> None:
        """Refuse data whose energies are counted from other ones than the potentials' are.

        Raises:
            ValueError: With both.
        """
        for potential in self.potentials:
            known = potential.atomic_energies
            if any(
                abs(known.get(s, 0.0) - atomic_energies.get(s, 0.0)) > 1e-9
                for s in potential.species
            ):
                raise ValueError(
                    f"the potential that training begins with has the atomic_energies {known}, but "
                    f"the data {dict(atomic_energies)}; give the same."
                )

    def put_into(self, driver: "AbstractTraining") -> None:
        """Give a driver the parameters of the potentials.

        Raises:
            ValueError: If they have other shapes, or are not as many.
        """
        if not self.potentials:
            return
        trees = [potential.parameters for potential in self.potentials]
        with driver._precision():
            if not driver.is_committee and len(trees) == 1:
                found = jax.tree.map(lambda x: jnp.asarray(x, driver.dtype), trees[0])
            else:
                found = jax.tree.map(
                    lambda *leaves: jnp.stack([jnp.asarray(x, driver.dtype) for x in leaves]),
                    *trees,
                )
        shapes = [
            (jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)])
            for tree in (found, driver.parameters)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"resume_from holds {len(trees)} potentials of the form {self.potentials[0]!r}, "
                "which is another than that which is trained."
            )
        driver.parameters = found


def start_of(
    resume_from: str | PathLike[str] | None,
    in_total: bool,
    load: Callable[[Path], TrainedPotential],
    of_committee: bool,
) -> Start:
    """Where training begins, from what `train` is given.

    Args:
        resume_from: A checkpoint, a folder of them, or a file of a trained potential such as
            `best_model.npz`; of committees, one of the members' `best_model_000.npz` stands for
            all, or the folder that they were trained into.
        in_total: See `Resume`.
        load: Reads a potential.
        of_committee: Whether several potentials are trained.
    """
    if resume_from is None:
        return Start()
    path = Path(resume_from)
    if path.is_file() and path.suffix == ".npz":
        files = [path]
        if of_committee and _BEST_OF.fullmatch(path.name):
            files = sorted(f for f in path.parent.iterdir() if _BEST_OF.fullmatch(f.name))
        return Start(potentials=[load(file) for file in files])
    files = sorted(path.glob("member_*/model.npz")) if of_committee else []
    if files:
        return Start(potentials=[load(file) for file in files])
    return Start(Resume(resume_from, in_total))
