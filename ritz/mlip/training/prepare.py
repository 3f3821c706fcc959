"""From what `train` is given to splits that can be trained on."""

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ritz.mlip.batching.memory import DEVICE, HOST, Caches, data_location, persistent_dataset
from ritz.mlip.batching.pack import Split, pack
from ritz.mlip.batching.stream import DataStream
from ritz.mlip.batching.survey import Survey, Targets, distances_as_json, survey_dataset
from ritz.mlip.data.datasets import (
    AbstractDataset,
    Featurizer,
    StructureDataset,
    Subset,
    split_indices,
)
from ritz.mlip.data.labels import StructuresLike
from ritz.mlip.data.reference_energies import check_species
from ritz.mlip.models.abstract_model import AbstractModel, Normalisation, fit_normalisation
from ritz.mlip.training.config import TrainingConfig
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Splits of a data set, packed, and their statistics."""

    train: Split | DataStream | None
    test: Split | DataStream | None
    normalisation: Normalisation
    statistics: Settings
    """Statistics of the training split, as aenet's files have them."""
    datasets: tuple[AbstractDataset, AbstractDataset | None]
    digest: str
    """Hash of the training split."""

    def without_splits(self) -> "PreparedData":
        """A copy without the splits, for when they are on the device."""
        return dataclasses.replace(self, train=None, test=None)


Splits = tuple[AbstractDataset, AbstractDataset | None]
"""The training split and the validation split."""


@dataclasses.dataclass(frozen=True)
class GivenData:
    """The data that `train` is given, in one of three ways.

    Raises:
        TypeError: If none or several of them are used.
    """

    structures: StructuresLike | None = None
    """Structures that are divided by `testpercent`."""
    dataset: AbstractDataset | None = None
    """Or a data set that is divided in the same way."""
    train_dataset: AbstractDataset | None = None
    """Or one to train on,"""
    test_dataset: AbstractDataset | None = None
    """and one to hold out, or None."""

    def __post_init__(self) -> None:
        ways = (self.structures, self.dataset, self.train_dataset)
        given = sum(way is not None for way in ways)
        if given != 1 or (self.test_dataset is not None and self.train_dataset is None):
            raise TypeError(
                "train takes structures=..., or dataset=..., or train_dataset=... with or without "
                "test_dataset=...; give exactly one of the three."
            )


def resolve(descriptor: Featurizer | None, config: TrainingConfig, given: GivenData) -> Splits:
    """Training and validation split.

    Raises:
        ValueError: If a data set and the configuration disagree, or nothing is left.
    """
    dataset = given.dataset
    if given.structures is not None:
        dataset = StructureDataset(
            given.structures,
            descriptor,
            config.atomic_energies,
            max_energy=config.max_energy,
            max_forces=config.max_forces,
        )
    else:
        for known in (dataset, given.train_dataset, given.test_dataset):
            if known is not None:
                _check_dataset(known, descriptor, config)
    if given.train_dataset is not None:
        return given.train_dataset, given.test_dataset
    assert dataset is not None
    train, test = split_indices(len(dataset), config.testpercent, config.seed_of_split)
    return Subset(dataset, train), Subset(dataset, test) if test else None


def _check_dataset(
    dataset: AbstractDataset, descriptor: Featurizer | None, config: TrainingConfig
) -> None:
    if not isinstance(dataset, AbstractDataset):
        raise TypeError(f"a data set of ritz.mlip is needed, but {dataset!r} was given.")
    if not len(dataset):
        raise ValueError("the data set has no structures.")
    if descriptor is not None and dataset.descriptor != descriptor:
        raise ValueError(
            f"the data set was made for {dataset.descriptor}, but the potential has {descriptor}."
        )
    known = {k: v for k, v in dataset.atomic_energies.items() if v}
    configured = {k: v for k, v in (config.atomic_energies or {}).items() if v}
    if configured and configured != known:
        raise ValueError(
            f"atomic_energies are those of the data set, {known}, but the configuration has "
            f"{configured}; leave them out, or make the data set with them."
        )
    for name in ("max_energy", "max_forces"):
        if getattr(config, name) is not None:
            _logger.warning(
                "%s is ignored: it acts where data sets are made. Give it to the data set.", name
            )


def prepare_data(
    model: AbstractModel,
    train: AbstractDataset,
    test: AbstractDataset | None,
    config: TrainingConfig,
    dtype: str,
) -> PreparedData:
    """Featurise and pack both splits, or make ready to stream them.

    Args:
        model: What the splits are packed for.
        train: The structures to train on.
        test: Those that are held out; None for none.
        config: How to train.
        dtype: The precision, "float32" or "float64".

    Raises:
        ValueError: If labels that are asked for are missing, or `atomic_energies` have a species
            that the model does not know.
    """
    energies = train.atomic_energies
    check_species(config.atomic_energies or {}, (), model.species)
    if config.sampling_policy == "energy_weighted" and not any(energies.values()):
        _logger.warning(
            "sampling_policy='energy_weighted' without atomic_energies: energies per atom are "
            "compared as they are."
        )
    targets = Targets(config.uses_forces, config.uses_stress)
    datasets = train, test if test is not None and len(test) else None
    train = persistent_dataset(model, train, _persist_folder(config, "train"), targets)
    sources = [train]
    if datasets[1] is not None:
        test = persistent_dataset(model, datasets[1], _persist_folder(config, "val"), targets)
        sources.append(test)
    place = data_location(model, sources, config.data_settings, targets, dtype)
    first = survey_dataset(model, train, targets, place == DEVICE, True)
    second = None if test is None else survey_dataset(model, test, targets, place == DEVICE, False)
    normalisation = normalisation_of(first, config)

    def made(data: AbstractDataset, known: Survey, scope: str) -> Split | DataStream:
        known = _with_shifted_energies(known, normalisation)
        if known.chunks is None:
            return DataStream(
                model,
                data,
                known,
                normalisation=normalisation,
                dtype=dtype,
                with_stress=targets.stress,
                caches=_caches(config, scope, place),
                device=config.device,
            )
        return pack(
            model,
            known.chunks,
            known.labels,
            normalisation=normalisation,
            widths=known.widths,
            dtype=dtype,
            with_stress=targets.stress,
        )

    return PreparedData(
        made(train, first, "train"),
        None if test is None or second is None else made(test, second, "val"),
        normalisation,
        statistics=statistics_of(first),
        datasets=datasets,
        digest=first.digest,
    )


def _with_shifted_energies(known: Survey, normalisation: Normalisation) -> Survey:
    """With energies less the shift, which are small enough for single precision."""
    energy = known.labels.energy - normalisation.e_shift * known.counts.sum(axis=1)
    return dataclasses.replace(known, labels=known.labels._replace(energy=energy))


def _persist_folder(config: TrainingConfig, scope: str) -> str | None:
    """Where features of the split "train" or "val" are kept between runs; None for nowhere."""
    return config.cache_persist_dir if config.cache_scope in ("all", scope) else None


def _caches(config: TrainingConfig, scope: str, place: str) -> Caches:
    """Sizes of the caches of a streamed split."""
    if place == HOST:
        return Caches(features=None, derivatives=None)
    if config.cache_scope not in ("all", scope):
        return Caches()
    return Caches(
        config.cache_feature_max_entries if config.cache_features else 0,
        config.cache_neighbor_max_entries if config.cache_neighbors else 0,
        config.cache_force_triplet_max_entries if config.cache_force_triplets else 0,
    )


def normalisation_of(known: Survey, config: TrainingConfig) -> Normalisation:
    """How features and energies of a training split are scaled, as the configuration asks for."""
    energies, sizes = np.asarray(known.labels.energy), known.counts.sum(axis=1)
    found = fit_normalisation(known.statistics, energies, sizes)
    if not config.normalize_features:
        ones = np.ones_like(found.std)
        found = found._replace(mean=0 * ones, std=ones)
    elif config.feature_stats is not None:
        found = _given_statistics(found, config.feature_stats)
    if not config.normalize_energy:
        found = found._replace(e_scaling=1.0, e_shift=0.0)
    if config.E_shift is not None:
        found = found._replace(e_shift=float(config.E_shift))
    if config.E_scaling is not None:
        found = found._replace(e_scaling=float(config.E_scaling))
    return found


def _given_statistics(found: Normalisation, stats: Mapping[str, ArrayLike]) -> Normalisation:
    mean = np.asarray(stats["mean"], float)
    std = np.sqrt(np.asarray(stats["cov"], float)) if "std" not in stats else stats["std"]
    std = np.asarray(std, float)
    if mean.shape != found.mean.shape or std.shape != found.std.shape:
        raise ValueError(
            f"feature_stats has arrays of the shapes {mean.shape} and {std.shape}, but the "
            f"descriptor has {counted(len(found.mean), 'feature')}."
        )
    return found._replace(mean=mean, std=std)


def statistics_of(known: Survey) -> Settings:
    """The statistics of a training split, as aenet's files have them."""
    n_atoms = known.counts.sum(axis=1)
    per_atom = np.asarray(known.labels.energy) / n_atoms
    return {
        "n_structures": len(n_atoms),
        "n_atoms": int(n_atoms.sum()),
        "e_min": float(per_atom.min()),
        "e_max": float(per_atom.max()),
        "e_mean": float(per_atom.mean()),
        "feature_min": known.statistics.minimum.tolist(),
        "feature_max": known.statistics.maximum.tolist(),
        "least_distances": None if known.closest is None else distances_as_json(known.closest),
    }
