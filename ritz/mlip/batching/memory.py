"""Memory that data take, where they are kept, and caches."""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ritz.driver.processes.consensus import agree, together
from ritz.mlip.arrays import find_device
from ritz.mlip.batching.survey import Targets, chunk_of, digest_of
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.hdf5_dataset import HDF5StructureDataset
from ritz.mlip.models.abstract_model import AbstractModel

_logger = logging.getLogger(__name__)

SAMPLE = 32
"""From how many structures the size of a data set is estimated."""

CERTAIN = 256
"""Data sets that are not larger are kept without an estimate."""

WINDOW = 256e6
"""Bytes of a window where no limit is given."""

DEVICE, HOST, NOWHERE = "device", "host", "nowhere"
"""Where packed data are kept: streamed from the host if there, computed again if nowhere."""


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Where packed data are kept, and how they are streamed."""

    memory_mode: str
    """"gpu" for the device that trains, "cpu" for the memory of the host."""
    memory_limit: float | None
    """Memory that the data may take there, in GB; None for half of what is free."""
    device: str | None
    """The device that trains; None for JAX's default."""
    num_workers: int
    """Number of threads that prepare streamed data; 0 for one that prepares one window ahead."""
    prefetch_factor: int
    """Number of windows that each thread prepares ahead."""
    persistent_workers: bool
    """Whether the threads live on between epochs."""

    @property
    def windows_ahead(self) -> int:
        """Number of windows that are prepared ahead."""
        return self.prefetch_factor * self.num_workers if self.num_workers else 1

    @property
    def window_bytes(self) -> float:
        """Largest size of a window, so that those in use and those ahead keep within the limit."""
        if self.memory_limit is None:
            return WINDOW
        return self.memory_limit * 1e9 / (self.windows_ahead + 3)

    def bytes_on(self, device: Any) -> float:
        """Bytes that the data may take on a device of JAX; on the host if it is None."""
        if self.memory_limit is not None:
            return self.memory_limit * 1e9
        stats = (None if device is None else device.memory_stats()) or {}
        if "bytes_limit" in stats:
            return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) / 2
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def data_location(
    model: AbstractModel,
    datasets: Sequence[AbstractDataset],
    settings: DataSettings,
    targets: Targets,
    dtype: str,
) -> str:
    """Where packed data are kept: where the settings say, unless they would take too much.

    The size is that of `SAMPLE` structures, evenly taken from each data set, times the number of
    all.
    """
    device = find_device(settings.device) or jax.local_devices()[0]
    place = HOST if settings.memory_mode == "cpu" and device.platform != "cpu" else DEVICE
    count = sum(map(len, datasets))
    if settings.memory_limit is None and count <= CERTAIN:
        return place
    limit = settings.bytes_on(None if place == HOST else device)
    size = sum(_estimate_bytes(model, dataset, targets, dtype) for dataset in datasets)
    if not agree(size > limit):  # the limits of other processes may be lower
        return place
    _logger.info(
        "The data would take %.2g GB, and memory_limit is %.2g GB: they are streamed, and what "
        "training needs of them is computed in each epoch again.",
        size / 1e9,
        limit / 1e9,
    )
    return NOWHERE


def _estimate_bytes(
    model: AbstractModel, dataset: AbstractDataset, targets: Targets, dtype: str
) -> float:
    places = np.unique(np.linspace(0, len(dataset) - 1, SAMPLE).astype(int))
    chunk = chunk_of(model, dataset, [int(place) for place in places])
    tabled = np.array([targets.of(s) for s in chunk.structures], bool)
    widths = model.widths(chunk, bool(np.any(tabled)))
    itemsize = np.dtype(dtype).itemsize
    each = [
        size * model.row_bytes(widths, bool(forced), itemsize)
        for size, forced in zip(chunk.sizes, tabled, strict=True)
    ]
    return float(np.mean(each)) * len(dataset)


@dataclasses.dataclass(frozen=True)
class Caches:
    """Number of structures whose data are kept in memory: None for all of them, 0 for none."""

    features: int | None = 0
    neighbors: int | None = 0
    derivatives: int | None = 0


def persistent_dataset(
    model: AbstractModel,
    dataset: AbstractDataset,
    folder: str | PathLike[str] | None,
    targets: Targets,
) -> AbstractDataset:
    """The data set with features and derivatives in a file of a folder, if one is given.

    Files are named by what is in them, so that other data or another descriptor make others.

    Args:
        model: For which features are kept.
        dataset: The structures.
        folder: Where; None for nowhere.
        targets: Whether derivatives are needed too.

    Raises:
        ValueError: If the model has no features.
    """
    if folder is None:
        return dataset
    descriptor = dataset.descriptor
    if descriptor is None or not model.n_features:
        raise ValueError(
            "cache_persist_dir keeps features, which this potential does not have; leave it out."
        )
    has_features = len(dataset) > 0 and dataset.get_features(0) is not None
    if has_features and (not targets.any or dataset.local_widths is not None):
        return dataset
    digest = hashlib.sha256(
        json.dumps({**descriptor.header(), "device": None}, sort_keys=True).encode()
    )
    for structure in dataset:
        digest_of(digest, structure)
    kind = "derivatives" if targets.any else "features"
    path = Path(folder) / f"{kind}-{digest.hexdigest()[:20]}.h5"
    kept = HDF5StructureDataset(path, descriptor, dataset.atomic_energies)
    if agree(not path.exists()):
        with together("while features of the data were written"):
            if jax.process_index() == 0 and not path.exists():
                _logger.info("%s of the data are written to %s.", kind.capitalize(), path)
                kept.build_database(
                    iter(dataset), persist_features=True, persist_force_derivatives=targets.any
                )
    return kept
