"""Committees: several potentials that differ in their first parameters."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ritz.driver.arguments import Plugins
from ritz.driver.description import describe
from ritz.driver.signatures import suggests_names
from ritz.driver.stop import StopReason
from ritz.mlip.committee.calibration import ENTRY, Calibration
from ritz.mlip.committee.results import (
    METADATA,
    CommitteePredictResult,
    CommitteeTrainResult,
    Member,
)
from ritz.mlip.committee.training import CommitteeConfig, CommitteeTraining
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.potentials.ann import ANNPotential
from ritz.mlip.potentials.base import AbstractMLIP, load_potential
from ritz.mlip.potentials.fitted import FittedCommittee
from ritz.mlip.potentials.training import Trainee, train
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.config_fields import config_or_default
from ritz.mlip.training.driver import AbstractTraining
from ritz.mlip.training.optimisers import OptaxMethod
from ritz.mlip.training.prepare import GivenData, Splits, prepare_data
from ritz.potentials import AbstractPotentialSource
from ritz.types import Settings
from ritz.wording import counted


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
        """Untrained potential of the same form as the members."""
        self.members: list[AbstractMLIP] = []
        """The potentials; empty before training."""
        self.calibration: Calibration | None = None
        """What the spread of the members says about errors; None before `calibrate`."""

    @classmethod
    def of(cls, template: AbstractMLIP) -> "CommitteePotential":
        """A committee of potentials of any kind, without members yet.

        Args:
            template: What they are like.
        """
        committee = object.__new__(cls)
        committee.template, committee.members = template.untrained(), []
        committee.calibration = None
        return committee

    @property
    def descriptor(self) -> AbstractDescriptor | None:
        """The descriptor that computes features; None if the model takes none."""
        return self.template.descriptor

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[AbstractMLIP]:
        return iter(self.members)

    def __repr__(self) -> str:
        return f"CommitteePotential of {counted(len(self), 'member')}: {self.template!r}"

    @suggests_names
    def train(
        self,
        structures: StructuresLike | None = None,
        config: TrainingConfig | None = None,
        committee_config: CommitteeConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
        resume_from: str | PathLike[str] | None = None,
        in_total: bool = False,
        callback: Plugins = None,
        out: Plugins = None,
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
                all of them, and so does the folder that a committee was trained into.
            in_total: See `ANNPotential.train`.
            callback: See `ANNPotential.train`; what they monitor is the mean over members.
            out: See `ANNPotential.train`.

        Raises:
            TypeError: If data are given in no way, or in several, or a configuration is of another
                class.
            ValueError: If data, descriptor and configuration do not fit, or `output_dir` holds
                another committee.
        """
        config = config_or_default("config", config, TrainingConfig)
        committee = config_or_default("committee_config", committee_config, CommitteeConfig)
        folder = None if committee.output_dir is None else Path(committee.output_dir)
        if folder is not None and (folder / METADATA).exists() and resume_from is None:
            raise ValueError(f"{folder} holds a committee already; choose another output_dir.")
        numbers = range(committee.num_members)
        folders = [] if folder is None else [folder / f"member_{n:03d}" for n in numbers]
        outs = train(
            self._trainee(committee),
            GivenData(structures, dataset, train_dataset, test_dataset),
            config,
            resume_from=resume_from,
            in_total=in_total,
            callback=callback,
            out=out,
            folders=folders,
        )
        if outs[0].stop_reason == StopReason.DIVERGED.name:
            folder, folders = None, []
        members = [
            Member(n, seed, outs[n], folders[n] if folders else None)
            for n, seed in enumerate(committee.seeds)
        ]
        result = CommitteeTrainResult(members, folder)
        result.write({"config": _as_json(config), "committee_config": _as_json(committee)})
        return result

    @suggests_names
    def driver(
        self,
        structures: StructuresLike | None = None,
        config: TrainingConfig | None = None,
        committee_config: CommitteeConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
    ) -> CommitteeTraining:
        """The driver that `train` runs, see `ANNPotential.driver`."""
        committee = config_or_default("committee_config", committee_config, CommitteeConfig)
        given = GivenData(structures, dataset, train_dataset, test_dataset)
        driver = self._trainee(committee).driver(given, config)
        assert isinstance(driver, CommitteeTraining)
        return driver

    def take_from(self, driver: AbstractTraining) -> list[AbstractMLIP]:
        """Take the parameters of all members from a driver, for example one of `driver`.

        Returns:
            The members.
        """
        self.members = [self.template.untrained() for _ in range(driver.n_members)]
        self.calibration = None
        for number, member in enumerate(self.members):
            member.take_from(driver, number)
        return self.members

    def _trainee(self, committee: CommitteeConfig) -> Trainee:
        def make_driver(data: Splits, config: TrainingConfig) -> CommitteeTraining:
            template, dtype = self.template, self.template.precision(config)
            each = [template.first_parameters(seed) for seed in committee.seeds]
            with jax.enable_x64(True):
                first = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
            prepared = prepare_data(template.model, *data, config, dtype)
            return CommitteeTraining(template.model, first, prepared, config, dtype)

        return Trainee(
            self.descriptor, make_driver, self.take_from, load_potential, is_committee=True
        )

    def frozen(self) -> FittedCommittee:
        """The mean of the members as a pure function of a structure, as `ritz.relax` takes it.

        Raises:
            RuntimeError: If there are no members yet.
        """
        if not self.members:
            raise RuntimeError("the committee has no members yet; train it, or load one.")
        with jax.enable_x64(True):
            members = [member.frozen() for member in self.members]
            known = self.calibration
            return FittedCommittee(members, (1.0, 1.0) if known is None else known.error_factors)

    def predict(
        self, structures: StructuresLike, eval_forces: bool = False
    ) -> CommitteePredictResult:
        """Predict with all members.

        Args:
            structures: `Structure` or `ase.Atoms`, one or many.
            eval_forces: Whether forces are predicted.

        Raises:
            RuntimeError: If there are no members yet.
        """
        many = as_structures(structures)
        return self._predict(many, eval_forces, list(range(len(many))))

    def calibrate(
        self, structures: StructuresLike, folder: str | PathLike[str] | None = None
    ) -> Calibration:
        """Find the factors from the spread of the members to expected errors, and keep them.

        They are used by the limits of `ritz.relax.SpreadLimit`. Training again drops them.

        Args:
            structures: Structures with energies, and forces, that the members were not trained on.
            folder: Where the committee was trained into; the calibration is written there too.

        Raises:
            RuntimeError: If there are no members yet.
            ValueError: If there are no labels, the members do not differ, or the folder holds no
                committee.
        """
        found = Calibration.of(self.predict(structures, eval_forces=True))
        if folder is not None:
            found.write(Path(folder))
        self.calibration = found
        return found

    def predict_dataset(
        self, dataset: AbstractDataset, eval_forces: bool = False
    ) -> CommitteePredictResult:
        """`predict` for all structures of a data set, with their places in the one it is from."""
        sources = [dataset.source_index(index) for index in range(len(dataset))]
        return self._predict(list(dataset), eval_forces, sources)

    def _predict(
        self, structures: Sequence[Structure], eval_forces: bool, sources: Sequence[int]
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
            saved = metadata.get(ENTRY)
            calibration = None if saved is None else Calibration.from_json(saved)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path / METADATA} is damaged: {type(error).__name__}: {error}."
            ) from error
        if not files:
            raise ValueError(f"{path / METADATA} lists no members.")
        members = [load_potential(file, **given) for file in files]
        committee = cls.of(members[0])
        committee.members, committee.calibration = members, calibration
        return committee

    def to_aenet_ascii(
        self,
        folder: str | PathLike[str],
        prefix: str = "committee",
        structures: StructuresLike | None = None,
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


def _as_json(config: TrainingConfig | CommitteeConfig) -> Settings:
    """A configuration as JSON can hold it, without the device, which is no part of files."""
    fields = dataclasses.asdict(config)
    fields.pop("device", None)
    if isinstance(config, TrainingConfig) and isinstance(config.optimiser, OptaxMethod):
        fields["method"] = describe(config.optimiser)
    return json.loads(json.dumps(fields, default=str))
