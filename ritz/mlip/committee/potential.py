"""Committees: several potentials that differ in their first parameters."""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ritz.driver.arguments import listed
from ritz.driver.stop import StopReason
from ritz.mlip.arguments import default_device
from ritz.mlip.committee.fitted import FittedCommittee
from ritz.mlip.committee.results import (
    METADATA,
    CommitteePredictResult,
    CommitteeTrainResult,
    Member,
)
from ritz.mlip.committee.training import CommitteeConfig, CommitteeTraining
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.labels import as_structures
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.potentials.ann import ANNPotential
from ritz.mlip.potentials.base import AbstractMLIP, load_potential
from ritz.mlip.potentials.predictions import save_predictions
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.prepare import prepare, resolve
from ritz.mlip.training.run import run_training
from ritz.mlip.training.start import BEST, best_of_member, start_of
from ritz.potentials import AbstractPotentialSource

_logger = logging.getLogger(__name__)


class CommitteePotential(AbstractPotentialSource):
    """Several potentials of one architecture; how much they disagree tells how sure they are.

    Args:
        arch: See `ANNPotential`.
        descriptor: See `ANNPotential`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If species or activations are not allowed.
    """

    def __init__(
        self, arch: Mapping[str, Sequence[tuple[int, str]]], descriptor: AbstractDescriptor
    ):
        self.template: AbstractMLIP = ANNPotential(arch, descriptor)
        """What the members are like."""
        self.members: list[AbstractMLIP] = []
        """The potentials; empty before training."""

    @classmethod
    def of(cls, template: AbstractMLIP) -> "CommitteePotential":
        """A committee of potentials of any kind, without members yet.

        Args:
            template: What they are like.
        """
        committee = object.__new__(cls)
        committee.template, committee.members = template.untrained(), []
        return committee

    @property
    def descriptor(self) -> AbstractDescriptor | None:
        """What features are computed with; None if there are none."""
        return self.template.descriptor

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[AbstractMLIP]:
        return iter(self.members)

    def __repr__(self) -> str:
        return f"CommitteePotential of {len(self)} members: {self.template!r}"

    def train(
        self,
        structures: Any = None,
        config: TrainingConfig | None = None,
        committee_config: CommitteeConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
        resume_from: str | PathLike[str] | None = None,
        in_total: bool = False,
        callback: Any = None,
        out: Any = None,
    ) -> CommitteeTrainResult:
        """Train all members together, on the same split and the same batches.

        Args:
            structures: See `ANNPotential.train`.
            config: See `ANNPotential.train`.
            committee_config: How many members there are, and how they differ.
            dataset: See `ANNPotential.train`.
            train_dataset: See `ANNPotential.train`.
            test_dataset: See `ANNPotential.train`.
            resume_from: See `ANNPotential.train`; one of `best_model_000.npz` and so on stands for
                all of them.
            in_total: See `ANNPotential.train`.
            callback: See `ANNPotential.train`; what they monitor is the mean over members.
            out: See `ANNPotential.train`.

        Raises:
            TypeError: If data are given in no way, or in several.
            ValueError: If data, descriptor and configuration do not fit, or `output_dir` holds
                another committee.
        """
        config = TrainingConfig() if config is None else config
        committee = CommitteeConfig() if committee_config is None else committee_config
        start = start_of(resume_from, in_total, load_potential, True)
        config = start.config(config, structures is not None)
        folder = None if committee.output_dir is None else Path(committee.output_dir)
        if folder is not None and (folder / METADATA).exists() and resume_from is None:
            raise ValueError(f"{folder} holds a committee already; choose another output_dir.")
        data = resolve(self.descriptor, config, structures, dataset, train_dataset, test_dataset)
        start.check_energies(data[0].atomic_energies)
        with default_device(config.device):
            driver = self._driver(data, config, committee)
            found = run_training(driver, config, start, listed(callback), out)
        if folder is not None and driver.stop_reason is StopReason.DIVERGED:
            _logger.warning("Training diverged, so that nothing is written to %s.", folder)
            folder = None
        self.members, members = [], []
        for number in range(len(found)):
            self.members.append(self.template.untrained())
            self.members[-1].take_from(driver, number)
        saves_best = (
            config.save_best and config.checkpoint_dir is not None and driver.has_validation
        )
        for member in self.members if folder is not None or saves_best else ():
            member.check_finite()  # before any is written
        for number, (seed, trainout) in enumerate(zip(committee.seeds, found, strict=True)):
            member = self.members[number]
            path = None if folder is None else folder / f"member_{number:03d}"
            members.append(Member(number, seed, trainout, path))
            if path is not None:
                member.save(path / "model.npz")
            if saves_best:
                best = Path(driver.working_dir) / str(config.checkpoint_dir)
                member.save(best / best_of_member(number))
            if config.save_energies or config.save_forces:
                inside = path or Path(driver.working_dir) / f"member_{number:03d}"
                inside.mkdir(parents=True, exist_ok=True)
                trainout.energies = save_predictions(member, data, config, inside)
        result = CommitteeTrainResult(members, folder)
        result.write({"config": _plain(config), "committee_config": _plain(committee)})
        return result

    def driver(
        self,
        structures: Any,
        config: TrainingConfig | None = None,
        committee_config: CommitteeConfig | None = None,
    ) -> CommitteeTraining:
        """The driver that `train` runs, see `ANNPotential.driver`."""
        config = TrainingConfig() if config is None else config
        committee = CommitteeConfig() if committee_config is None else committee_config
        data = resolve(self.descriptor, config, structures)
        with default_device(config.device):
            return self._driver(data, config, committee)

    def _driver(
        self, data: tuple[Any, Any], config: TrainingConfig, committee: CommitteeConfig
    ) -> Any:
        dtype = self.template.precision(config)
        each = [self.template.first_parameters(seed) for seed in committee.seeds]
        with jax.enable_x64(True):
            first = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        prepared = prepare(self.template.model, *data, config, dtype)
        return CommitteeTraining(self.template.model, first, prepared, config, dtype)

    def frozen(self) -> FittedCommittee:
        """The mean of the members as a pure function of a structure, as `ritz.relax` takes it.

        Raises:
            RuntimeError: If there are no members yet.
        """
        if not self.members:
            raise RuntimeError("the committee has no members yet; train it, or load one.")
        with jax.enable_x64(True):
            return FittedCommittee([member.frozen() for member in self.members])

    def predict(self, structures: Any, eval_forces: bool = False) -> CommitteePredictResult:
        """Predict with all members.

        Args:
            structures: `Structure` or `ase.Atoms`, one or many.
            eval_forces: Whether forces are predicted.

        Raises:
            RuntimeError: If there are no members yet.
        """
        many = as_structures(structures)
        return self._predict(many, eval_forces, list(range(len(many))))

    def predict_dataset(
        self, dataset: AbstractDataset, eval_forces: bool = False
    ) -> CommitteePredictResult:
        """`predict` for all structures of a data set, with their places in the one it is from."""
        sources = [dataset.source_index(index) for index in range(len(dataset))]
        return self._predict(list(dataset), eval_forces, sources)

    def _predict(
        self, structures: Sequence[Any], eval_forces: bool, sources: Sequence[int]
    ) -> CommitteePredictResult:
        if not self.members:
            raise RuntimeError("the committee has no members yet; train it, or load one.")
        outputs = [member.predict(structures, eval_forces) for member in self.members]
        return CommitteePredictResult.of(outputs, sources)

    @classmethod
    def from_directory(cls, folder: str | PathLike[str], **given: Any) -> "CommitteePotential":
        """Load a committee that was trained with `output_dir`.

        Args:
            folder: Where it was written.
            given: What is not in the files, see `AbstractMLIP.load`.

        Raises:
            ValueError: If there is none in the folder.
        """
        path = Path(folder)
        if not (path / METADATA).is_file():
            raise ValueError(f"{path} holds no committee: there is no {METADATA}.")
        try:
            metadata = json.loads((path / METADATA).read_text())
            files = [path / str(m["folder"]) / "model.npz" for m in metadata["members"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path / METADATA} is damaged: {type(error).__name__}: {error}."
            ) from error
        if not files:
            raise ValueError(f"{path / METADATA} lists no members.")
        members = [load_potential(file, **given) for file in files]
        committee = cls.of(members[0])
        committee.members = members
        return committee

    def to_aenet_ascii(
        self,
        folder: str | PathLike[str],
        prefix: str = "committee",
        structures: Any = None,
        descriptor_stats: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Path]]:
        """Write all members as aenet reads them: `member_000/PREFIX.SPECIES.nn.ascii` and so on.

        Args:
            folder: Where their folders go.
            prefix: How the names of the files begin.
            structures: See `ANNPotential.to_aenet_ascii`.
            descriptor_stats: See `ANNPotential.to_aenet_ascii`.

        Returns:
            The files of each member, by species.

        Raises:
            TypeError: If the members are no `ANNPotential`.
        """
        if not isinstance(self.template, ANNPotential):
            raise TypeError(f"aenet has no potentials such as {type(self.template).__name__}.")
        return [
            member.to_aenet_ascii(
                Path(folder) / f"member_{number:03d}", prefix, structures, descriptor_stats
            )
            for number, member in enumerate(self.members)
            if isinstance(member, ANNPotential)
        ]


def _plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON can hold it, without the device, which is no part of files."""
    fields = dataclasses.asdict(config)
    fields.pop("device", None)
    return json.loads(json.dumps(fields, default=str))


POTENTIAL = "potential.npz"
"""The potential of a run folder."""

COMMITTEE = "committee"
"""The folder of its members in a run folder."""


def load_saved(path: str | PathLike[str]) -> AbstractMLIP | CommitteePotential:
    """Read what was trained.

    Args:
        path: A file that `save` wrote; a folder that a committee was trained into; a run folder of
            `ritz mlip train`; or the folder of checkpoints that `train` wrote its best model into.

    Raises:
        ValueError: If it is none of these.
    """
    path = Path(path)
    if path.is_file():
        return load_potential(path)
    for folder in (path, path / COMMITTEE):
        if (folder / METADATA).is_file():
            return CommitteePotential.from_directory(folder)
    for name in (POTENTIAL, BEST):
        if (path / name).is_file():
            return load_potential(path / name)
    raise ValueError(
        f"there is no trained potential in {path}: a run folder has {POTENTIAL} or {COMMITTEE}/ "
        "when `ritz mlip train` has ended."
    )
