"""From what `train` is given to splits that can be trained on."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ritz.mlip.chebyshev import ChebyshevDescriptor
from ritz.mlip.config import TrainingConfig
from ritz.mlip.datasets import AbstractDataset, StructureDataset, Subset, split_indices
from ritz.mlip.labels import check_labels
from ritz.mlip.model import Normalisation, fit_normalisation
from ritz.mlip.split import Split, pack
from ritz.mlip.structure import Structure

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Splits of a data set, packed, and their statistics."""

    train: Split
    test: Split | None
    normalisation: Normalisation
    statistics: dict[str, Any]
    """What aenet's files say of the training split."""
    datasets: tuple[AbstractDataset, AbstractDataset | None]


def resolve(
    descriptor: ChebyshevDescriptor,
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
    dataset: AbstractDataset, descriptor: ChebyshevDescriptor, config: TrainingConfig
) -> None:
    if not isinstance(dataset, AbstractDataset):
        raise TypeError(f"a data set of ritz.mlip is needed, but {dataset!r} was given.")
    if not len(dataset):
        raise ValueError("the data set has no structures.")
    if dataset.descriptor != descriptor:
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
    train: AbstractDataset, test: AbstractDataset | None, config: TrainingConfig, dtype: str
) -> Prepared:
    """Featurise and pack both splits.

    Raises:
        ValueError: If labels that are asked for are missing.
    """
    structures = list(train)
    held_out = [] if test is None else list(test)
    check_labels(structures, config.force_weight > 0, config.stress_weight > 0)
    check_labels(held_out, False, False)
    descriptor, energies = train.descriptor, train.atomic_energies
    if config.sampling_policy == "energy_weighted" and not any(energies.values()):
        _logger.warning(
            "sampling_policy='energy_weighted' without atomic_energies: energies per atom are "
            "compared as they are."
        )
    first = pack(
        structures, descriptor, energies, _tabled(structures, config), dtype, _features(train)
    )
    second = None
    if test is not None and held_out:
        second = pack(
            held_out, descriptor, energies, _tabled(held_out, config), dtype, _features(test)
        )
    normalisation = _normalisation(first, config)
    return Prepared(
        _normalised(first, normalisation),
        None if second is None else _normalised(second, normalisation),
        normalisation, _statistics(first), (train, test),
    )  # fmt: skip


def _features(dataset: AbstractDataset) -> list[np.ndarray] | None:
    """The features of all structures, if they are known already."""
    found = []
    for index in range(len(dataset)):
        features = dataset.get_features(index)
        if features is None:
            return None
        found.append(features)
    return found


def _tabled(structures: Sequence[Structure], config: TrainingConfig) -> np.ndarray:
    def is_wanted(structure: Structure) -> bool:
        forces = structure.forces is not None and config.force_weight > 0
        return forces or (structure.stress is not None and config.stress_weight > 0)

    return np.array([is_wanted(structure) for structure in structures], bool)


def _normalisation(split: Split, config: TrainingConfig) -> Normalisation:
    features, energies, counts = map(
        np.asarray, (split.features, split.labels.energy, split.counts)
    )
    found = fit_normalisation(features, energies, counts.sum(axis=1))
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


def _normalised(split: Split, normalisation: Normalisation) -> Split:
    with jax.enable_x64(True):
        return split._replace(features=np.asarray(normalisation.features(split.features)))


def _statistics(split: Split) -> dict[str, Any]:
    n_atoms = split.counts.sum(axis=1)
    per_atom = split.labels.energy / n_atoms
    features = np.asarray(split.features)
    return {
        "n_structures": len(n_atoms),
        "n_atoms": int(n_atoms.sum()),
        "e_min": float(per_atom.min()),
        "e_max": float(per_atom.max()),
        "e_mean": float(per_atom.mean()),
        "feature_min": features.min(axis=0).tolist(),
        "feature_max": features.max(axis=0).tolist(),
    }
