"""From what `train` is given to splits that can be trained on."""

import dataclasses
import logging
from typing import Any

import numpy as np

from ritz.mlip.batching.least_distances import plain
from ritz.mlip.batching.memory import DEVICE, HOST, Caches, persistent_dataset, place_of
from ritz.mlip.batching.pack import Split, pack
from ritz.mlip.batching.stream import DataStream
from ritz.mlip.batching.survey import Survey, Targets, survey
from ritz.mlip.data.datasets import AbstractDataset, StructureDataset, Subset, split_indices
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.models.normalisation import Normalisation, fit_normalisation
from ritz.mlip.training.config import TrainingConfig

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Splits of a data set, packed, and their statistics."""

    train: Split | DataStream | None
    test: Split | DataStream | None
    normalisation: Normalisation
    statistics: dict[str, Any]
    """What aenet's files say of the training split."""
    datasets: tuple[AbstractDataset, AbstractDataset | None]
    digest: str
    """Tells training splits apart."""

    def without_splits(self) -> "PreparedData":
        """What is left when the splits are on the device, so that they are in memory once."""
        return dataclasses.replace(self, train=None, test=None)


def resolve(
    descriptor: AbstractDescriptor | None,
    config: TrainingConfig,
    structures: Any = None,
    dataset: AbstractDataset | None = None,
    train_dataset: AbstractDataset | None = None,
    test_dataset: AbstractDataset | None = None,
) -> tuple[AbstractDataset, AbstractDataset | None]:
    """What to train on and what to hold out.

    Raises:
        TypeError: If none or several of the three ways to give data are used.
        ValueError: If a data set and the configuration disagree, or nothing is left.
    """
    given = [structures is not None, dataset is not None, train_dataset is not None]
    if sum(given) != 1 or (test_dataset is not None and train_dataset is None):
        raise TypeError(
            "train takes structures=..., or dataset=..., or train_dataset=... with or without "
            "test_dataset=...; give exactly one of the three."
        )
    if structures is not None:
        dataset = StructureDataset(
            structures, descriptor, config.atomic_energies, config.max_energy, config.max_forces
        )
    else:
        for own in (dataset, train_dataset, test_dataset):
            if own is not None:
                _check_dataset(own, descriptor, config)
    if train_dataset is not None:
        return train_dataset, test_dataset
    assert dataset is not None
    train, test = split_indices(len(dataset), config.testpercent, config.seed_of_split)
    return Subset(dataset, train), Subset(dataset, test) if test else None


def _check_dataset(
    dataset: AbstractDataset, descriptor: AbstractDescriptor | None, config: TrainingConfig
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
    wanted = {k: v for k, v in (config.atomic_energies or {}).items() if v}
    if wanted and wanted != known:
        raise ValueError(
            f"atomic_energies are those of the data set, {known}, but the configuration has "
            f"{wanted}; leave them out, or make the data set with them."
        )
    for name in ("max_energy", "max_forces"):
        if getattr(config, name) is not None:
            _logger.warning(
                "%s is ignored: it acts where data sets are made. Give it to the data set.", name
            )


def prepare(
    model: AbstractModel,
    train: AbstractDataset,
    test: AbstractDataset | None,
    config: TrainingConfig,
    dtype: str,
) -> PreparedData:
    """Featurise and pack both splits, or make ready to stream them.

    Raises:
        ValueError: If labels that are asked for are missing.
    """
    energies = train.atomic_energies
    if config.sampling_policy == "energy_weighted" and not any(energies.values()):
        _logger.warning(
            "sampling_policy='energy_weighted' without atomic_energies: energies per atom are "
            "compared as they are."
        )
    wanted = Targets(config.uses_forces, config.uses_stress)
    datasets = train, test if test is not None and len(test) else None
    train = persistent_dataset(model, train, _persist_folder(config, "train"), wanted)
    sources = [train]
    if datasets[1] is not None:
        test = persistent_dataset(model, datasets[1], _persist_folder(config, "val"), wanted)
        sources.append(test)
    place = place_of(model, sources, config.data_settings, wanted, dtype)
    first = survey(model, train, wanted, place == DEVICE, True)
    second = None if test is None else survey(model, test, wanted, place == DEVICE, False)
    normalisation = _normalisation(first, config)

    def made(data: AbstractDataset, known: Survey, scope: str) -> Split | DataStream:
        known = _shifted(known, normalisation)
        if known.chunks is None:
            return DataStream(
                model, data, known, normalisation, dtype, wanted.stress,
                _caches(config, scope, place), config.device,
            )  # fmt: skip
        return pack(
            model, known.chunks, known.labels, normalisation, known.widths, dtype, wanted.stress
        )

    return PreparedData(
        made(train, first, "train"),
        None if test is None or second is None else made(test, second, "val"),
        normalisation, _statistics(first), datasets, first.digest,
    )  # fmt: skip


def _shifted(known: Survey, normalisation: Normalisation) -> Survey:
    """With energies less the shift, which are small enough for single precision."""
    energy = known.labels.energy - normalisation.e_shift * known.counts.sum(axis=1)
    return dataclasses.replace(known, labels=known.labels._replace(energy=energy))


def _persist_folder(config: TrainingConfig, scope: str) -> str | None:
    """Where features of the split "train" or "val" are kept between runs; None for nowhere."""
    return config.cache_persist_dir if config.cache_scope in ("all", scope) else None


def _caches(config: TrainingConfig, scope: str, place: str) -> Caches:
    """What is kept in memory of a split that is streamed."""
    if place == HOST:
        return Caches(features=None, derivatives=None)
    if config.cache_scope not in ("all", scope):
        return Caches()
    return Caches(
        config.cache_feature_max_entries if config.cache_features else 0,
        config.cache_neighbor_max_entries if config.cache_neighbors else 0,
        config.cache_force_triplet_max_entries if config.cache_force_triplets else 0,
    )


def _normalisation(known: Survey, config: TrainingConfig) -> Normalisation:
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


def _given_statistics(found: Normalisation, stats: Any) -> Normalisation:
    mean = np.asarray(stats["mean"], float)
    std = np.sqrt(np.asarray(stats["cov"], float)) if "std" not in stats else stats["std"]
    std = np.asarray(std, float)
    if mean.shape != found.mean.shape or std.shape != found.std.shape:
        raise ValueError(
            f"feature_stats has arrays of the shapes {mean.shape} and {std.shape}, but there are "
            f"{len(found.mean)} features."
        )
    return found._replace(mean=mean, std=std)


def _statistics(known: Survey) -> dict[str, Any]:
    n_atoms = known.counts.sum(axis=1)
    per_atom = np.asarray(known.labels.energy) / n_atoms
    return {
        "n_structures": len(n_atoms),
        "n_atoms": int(n_atoms.sum()),
        "e_min": float(per_atom.min()),
        "e_max": float(per_atom.max()),
        "e_mean": float(per_atom.mean()),
        "feature_min": known.statistics.least.tolist(),
        "feature_max": known.statistics.most.tolist(),
        "least_distances": None if known.closest is None else plain(known.closest),
    }
