"""How much memory data take, and whether they are kept on the device or streamed."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.arguments import find_device
from ritz.mlip.config import TrainingConfig
from ritz.mlip.datasets import AbstractDataset
from ritz.mlip.packing import Wanted, chunk_of

_logger = logging.getLogger(__name__)

SAMPLE = 32
"""From how many structures the size of a data set is estimated."""

CERTAIN = 256
"""Data sets that are not larger are kept without an estimate."""

WINDOW = 256e6
"""Bytes of a window where no limit is given."""


DEVICE, HOST, NOWHERE = "device", "host", "nowhere"
"""Where packed data are kept: streamed from the host if there, computed again if nowhere."""


def place_of(
    model: AbstractModel,
    datasets: Sequence[AbstractDataset],
    config: TrainingConfig,
    wanted: Wanted,
    dtype: str,
) -> str:
    """Where packed data are kept: where `memory_mode` says, unless they would take too much.

    The size is that of `SAMPLE` structures, evenly taken from each data set, times the number of
    all.
    """
    device = find_device(config.device) or jax.devices()[0]
    place = HOST if config.memory_mode == "cpu" and device.platform != "cpu" else DEVICE
    count = sum(map(len, datasets))
    if config.memory_limit is None and count <= CERTAIN:
        return place
    limit = _limit(config, None if place == HOST else device)
    size = sum(_estimate(model, dataset, wanted, dtype) for dataset in datasets)
    if size <= limit:
        return place
    _logger.info(
        "The data would take %.2g GB, and memory_limit is %.2g GB: they are streamed, and what "
        "training needs of them is computed in each epoch again.", size / 1e9, limit / 1e9,
    )  # fmt: skip
    return NOWHERE


def windows_ahead(config: TrainingConfig) -> int:
    """How many windows are prepared before they are needed."""
    return config.prefetch_factor * config.num_workers if config.num_workers else 1


def window_bytes(config: TrainingConfig) -> float:
    """How large a window may be, so that those in use and those ahead keep within the limit."""
    if config.memory_limit is None:
        return WINDOW
    return config.memory_limit * 1e9 / (windows_ahead(config) + 3)


def _limit(config: TrainingConfig, device: Any) -> float:
    """In bytes; on the host if there is no device."""
    if config.memory_limit is not None:
        return config.memory_limit * 1e9
    stats = (None if device is None else device.memory_stats()) or {}
    if "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) / 2
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _estimate(model: AbstractModel, dataset: AbstractDataset, wanted: Wanted, dtype: str) -> float:
    places = np.unique(np.linspace(0, len(dataset) - 1, SAMPLE).astype(int))
    chunk = chunk_of(model, dataset, [int(place) for place in places])
    tabled = np.array([wanted.of(s) for s in chunk.structures], bool)
    widths = model.widths(chunk, bool(np.any(tabled)))
    itemsize = np.dtype(dtype).itemsize
    each = [
        size * model.row_bytes(widths, bool(forced), itemsize)
        for size, forced in zip(chunk.sizes, tabled, strict=True)
    ]
    return float(np.mean(each)) * len(dataset)
