"""One pass through a data set: sizes, labels, statistics, widths of rows."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ritz.mlip.batching.least_distances import ClosePairCheck, least_distances
from ritz.mlip.data.datasets import AbstractDataset, referenced_energy
from ritz.mlip.data.labelling import LabelCheck
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.models.abstract_model import AbstractModel, Labels, Widths
from ritz.mlip.models.normalisation import FeatureStatistics

CHUNK = 256
"""How many structures are looked at at once."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one pass through a data set tells."""

    counts: np.ndarray
    """How many atoms of each species each structure has."""
    labels: Labels
    widths: Widths
    """How long rows of neighbours must be."""
    statistics: FeatureStatistics
    digest: str
    """Tells data sets apart."""
    chunks: list[Chunk] | None
    """The structures, if they were kept."""
    closest: np.ndarray | None = None
    """The smallest distance between atoms of each two species, if it was looked for."""


@dataclasses.dataclass(frozen=True)
class Targets:
    """What is asked for of the structures of a data set that have it."""

    forces: bool
    stress: bool

    def of(self, structure: Structure) -> bool:
        """Whether forces or stress of a structure are predicted."""
        forces = structure.forces is not None and self.forces
        return forces or (structure.stress is not None and self.stress)

    @property
    def any(self) -> bool:
        """Whether there may be such structures."""
        return self.forces or self.stress


def chunk_of(
    model: AbstractModel, dataset: AbstractDataset, places: Sequence[int], search: Any = None
) -> Chunk:
    """Some structures of a data set with what it knows of them."""
    features = [dataset.get_features(place) for place in places]
    known: Any = None if any(own is None for own in features) else features
    kept = dataset.local_widths
    return Chunk(
        [dataset.get_structure(place) for place in places], model.species, model.cutoff,
        model.least, known, kept,
        None if kept is None else lambda: [dataset.get_local_derivatives(p) for p in places],
        search,
    )  # fmt: skip


def chunks_of(model: AbstractModel, dataset: AbstractDataset) -> Iterator[Chunk]:
    """All structures of a data set."""
    for begin in range(0, len(dataset), CHUNK):
        yield chunk_of(model, dataset, range(begin, min(begin + CHUNK, len(dataset))))


def survey(
    model: AbstractModel, dataset: AbstractDataset, wanted: Targets, keep: bool, strict: bool
) -> Survey:
    """Look at all structures once.

    Args:
        model: What they are packed for.
        dataset: The structures.
        wanted: What is asked for.
        keep: Whether they stay in memory.
        strict: Whether some must have what is asked for.

    Raises:
        ValueError: If labels that are asked for are missing, there is an unknown species, or two
            atoms are at one place.
    """
    check = LabelCheck(strict and wanted.forces, strict and wanted.stress)
    distances = ClosePairCheck(model.least)
    statistics, digest = FeatureStatistics(model.n_features), hashlib.sha256()
    counts, labels, chunks, widths = [], [], [], ()
    n_species = len(model.species)
    closest = np.full((n_species, n_species), np.inf)
    for chunk in chunks_of(model, dataset):
        for structure in chunk.structures:
            check.see(structure)
            digest_of(digest, structure)
        counts.append(chunk.counts)
        tabled = np.array([wanted.of(s) for s in chunk.structures], bool)
        labels.append(labels_of(chunk.structures, dataset.atomic_energies, tabled))
        own = model.widths(chunk, wanted.any)
        widths = tuple(map(max, own, widths)) if widths else own
        if model.n_features:
            statistics.add(model.features(chunk, widths))
        distances.see(chunk)
        if strict:
            closest = np.minimum(closest, least_distances(chunk))
        if keep:
            chunks.append(chunk)
    check.finish()
    distances.finish()
    return Survey(
        np.concatenate(counts), _joined(labels), widths, statistics, digest.hexdigest()[:12],
        chunks if keep else None, closest if strict else None,
    )  # fmt: skip


def digest_of(digest: Any, structure: Structure) -> None:
    """Take a structure with all its labels into a hash."""
    digest.update(" ".join(structure.species).encode())
    for value in (structure.positions, structure.forces, structure.cell, structure.stress,
                  structure.energy, structure.weight):  # fmt: skip
        digest.update(b"-" if value is None else np.ascontiguousarray(value, float).tobytes())


def labels_of(
    structures: Sequence[Structure], atomic_energies: Mapping[str, float], tabled: np.ndarray
) -> Labels:
    """What is known of each structure.

    Args:
        structures: The structures.
        atomic_energies: What is taken off the energies for each atom, in eV.
        tabled: For which of them forces will be asked.
    """
    return Labels(
        np.array([referenced_energy(s, atomic_energies) for s in structures]),
        np.array([s.weight for s in structures]),
        np.array([np.zeros((3, 3)) if s.stress is None else s.stress for s in structures]),
        np.array([s.volume for s in structures]),
        np.array([s.stress is not None for s in structures]),
        np.array([s.forces is not None for s in structures]),
        tabled,
    )


def _joined(parts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
