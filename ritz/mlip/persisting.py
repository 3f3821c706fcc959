"""Files that keep features and their derivatives between runs."""

import hashlib
import json
import logging
from pathlib import Path

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.config import TrainingConfig
from ritz.mlip.datasets import AbstractDataset
from ritz.mlip.hdf5_dataset import HDF5StructureDataset
from ritz.mlip.packing import Wanted, digest_of

_logger = logging.getLogger(__name__)


def persisted(
    model: AbstractModel,
    dataset: AbstractDataset,
    config: TrainingConfig,
    wanted: Wanted,
    scope: str,
) -> AbstractDataset:
    """The same structures, with features and derivatives in `cache_persist_dir` if that is given.

    Files are named by what is in them, so that other data or another descriptor make others.

    Args:
        model: For which features are kept.
        dataset: The structures.
        config: Whether and where.
        wanted: Whether derivatives are needed too.
        scope: "train" or "val".

    Raises:
        ValueError: If the model has no features.
    """
    if config.cache_persist_dir is None or config.cache_scope not in ("all", scope):
        return dataset
    descriptor = dataset.descriptor
    if descriptor is None or not model.n_features:
        raise ValueError(
            "cache_persist_dir keeps features, which this potential does not have; leave it out."
        )
    has_features = len(dataset) > 0 and dataset.get_features(0) is not None
    if has_features and (not wanted.any or dataset.local_widths is not None):
        return dataset
    digest = hashlib.sha256(
        json.dumps({**descriptor.header(), "device": None}, sort_keys=True).encode()
    )
    for structure in dataset:
        digest_of(digest, structure)
    kind = "derivatives" if wanted.any else "features"
    path = Path(config.cache_persist_dir) / f"{kind}-{digest.hexdigest()[:20]}.h5"
    kept = HDF5StructureDataset(path, descriptor, dataset.atomic_energies)
    if not path.exists():
        _logger.info("%s of the data are written to %s.", kind.capitalize(), path)
        kept.build_database(
            iter(dataset), persist_features=True, persist_force_derivatives=wanted.any
        )
    return kept
