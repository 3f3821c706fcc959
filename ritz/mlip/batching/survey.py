"""One pass through a data set: sizes, labels, statistics, widths of rows."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ritz.mlip.data.datasets import AbstractDataset, referenced_energy
from ritz.mlip.data.labelling import LabelCheck
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.descriptors.pairs import (
    AT_ONE_PLACE,
    Dropped,
    PairArrays,
    closest_dropped,
    find_pairs,
)
from ritz.mlip.models.abstract_model import AbstractModel, FeatureStatistics, Labels, Widths
from ritz.types import Settings
from ritz.wording import counted

PairSearch = Callable[[int, Structure, float], PairArrays]
"""Finds the pairs of a structure, given its place, itself and the cutoff in Angstrom."""

CHUNK = 256
"""Number of structures that are looked at together."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """Result of one pass through a data set."""

    counts: np.ndarray
    """Number of atoms of each species in each structure."""
    labels: Labels
    widths: Widths
    """Lengths that rows of neighbours need."""
    statistics: FeatureStatistics
    digest: str
    """Hash of the data set."""
    chunks: list[Chunk] | None
    """The structures, if they were kept."""
    closest: np.ndarray | None = None
    """The smallest distance between atoms of each two species, if it was looked for."""


@dataclasses.dataclass(frozen=True)
class Targets:
    """Which labels are trained on, where structures have them."""

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
    model: AbstractModel,
    dataset: AbstractDataset,
    places: Sequence[int],
    search: PairSearch | None = None,
) -> Chunk:
    """Some structures of a data set with what it knows of them."""
    features = [dataset.get_features(place) for place in places]
    known = [own for own in features if own is not None]
    kept = dataset.local_widths
    return Chunk(
        [dataset.get_structure(place) for place in places],
        model.species,
        model.cutoff,
        least=model.min_distance,
        features=known if len(known) == len(places) else None,
        widths=kept,
        derivatives=None
        if kept is None
        else lambda: [dataset.get_local_derivatives(p) for p in places],
        search=search,
    )


def chunks_of(model: AbstractModel, dataset: AbstractDataset) -> Iterator[Chunk]:
    """All structures of a data set."""
    for begin in range(0, len(dataset), CHUNK):
        yield chunk_of(model, dataset, range(begin, min(begin + CHUNK, len(dataset))))


def survey_dataset(
    model: AbstractModel, dataset: AbstractDataset, targets: Targets, keep: bool, strict: bool
) -> Survey:
    """Pass through all structures of a data set once.

    Args:
        model: What they are packed for.
        dataset: The structures.
        targets: What is asked for.
        keep: Whether they stay in memory.
        strict: Whether some must have what is asked for.

    Raises:
        ValueError: If labels that are asked for are missing, there is an unknown species, or two
            atoms are at one place.
    """
    check = LabelCheck(strict and targets.forces, strict and targets.stress)
    close_pairs = ClosePairCheck(model.min_distance)
    statistics, digest = FeatureStatistics(model.n_features), hashlib.sha256()
    counts, labels, chunks, widths = [], [], [], ()
    n_species = len(model.species)
    closest = np.full((n_species, n_species), np.inf)
    for chunk in chunks_of(model, dataset):
        for structure in chunk.structures:
            check.add(structure)
            digest_of(digest, structure)
        counts.append(chunk.counts)
        tabled = np.array([targets.of(s) for s in chunk.structures], bool)
        labels.append(labels_of(chunk.structures, dataset.atomic_energies, tabled))
        own = model.widths(chunk, targets.any)
        widths = tuple(map(max, own, widths)) if widths else own
        if model.n_features:
            statistics.add(model.features(chunk, widths))
        close_pairs.add(chunk)
        if strict:
            closest = np.minimum(closest, least_distances(chunk))
        if keep:
            chunks.append(chunk)
    check.finish()
    close_pairs.report()
    return Survey(
        np.concatenate(counts),
        _concatenated(labels),
        widths,
        statistics=statistics,
        digest=digest.hexdigest()[:12],
        chunks=chunks if keep else None,
        closest=closest if strict else None,
    )


def digest_of(digest: "hashlib._Hash", structure: Structure) -> None:
    """Add a structure with all its labels to a hash."""
    digest.update(" ".join(structure.species).encode())
    for value in (
        structure.positions,
        structure.forces,
        structure.cell,
        structure.stress,
        structure.energy,
        structure.weight,
    ):
        digest.update(b"-" if value is None else np.ascontiguousarray(value, float).tobytes())


def labels_of(
    structures: Sequence[Structure], atomic_energies: Mapping[str, float], tabled: np.ndarray
) -> Labels:
    """Labels of structures as arrays.

    Args:
        structures: The structures.
        atomic_energies: What is taken off the energies for each atom, in eV.
        tabled: For which of them forces will be asked.
    """
    return Labels(
        np.array([referenced_energy(s, atomic_energies) for s in structures]),
        np.array([s.weight for s in structures]),
        np.array([np.zeros((3, 3)) if s.stress is None else s.stress for s in structures]),
        volume=np.array([s.volume for s in structures]),
        has_stress=np.array([s.stress is not None for s in structures]),
        has_forces=np.array([s.forces is not None for s in structures]),
        has_tables=tabled,
    )


def _concatenated(parts: Sequence[Labels]) -> Labels:
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


SHARE = 0.8
"""Atoms may be this many times as far apart as the closest ones of their species in the training
data. A lattice that is compressed so much has half of its volume: what a potential says beyond is
no better than a guess, and often falls where it should rise."""


def least_distances(chunk: Chunk) -> Float[np.ndarray, "species species"]:
    """The smallest distance between atoms of each two species, in Angstrom; inf for none.

    Args:
        chunk: The structures. If their features are known, pairs were not searched, and are here.
    """
    found = np.full((len(chunk.species), len(chunk.species)), np.inf)
    if chunk.features is None or chunk.knows_pairs:
        pairs = chunk.pairs
        kinds = pairs.kinds[pairs.first], pairs.kinds[pairs.second]
        np.minimum.at(found, kinds, pairs.distances)
    else:
        own = np.split(chunk.kinds, np.cumsum(chunk.sizes)[:-1])
        for structure, kinds in zip(chunk.structures, own, strict=True):
            first, second, shifts = find_pairs(structure, chunk.cutoff)
            positions = np.asarray(structure.positions)
            vectors = positions[second] - positions[first] + shifts @ structure.box
            distances = np.sqrt(np.sum(vectors**2, axis=-1))
            np.minimum.at(found, (kinds[first], kinds[second]), distances)
    return np.minimum(found, found.T)


def distances_as_json(distances: Float[np.ndarray, "species species"]) -> list[list[float | None]]:
    """Distances as JSON holds them, None for species that never meet."""
    return [[float(d) if np.isfinite(d) else None for d in row] for row in distances]


def pair_limits(
    statistics: Settings, least: float, n_species: int
) -> Float[np.ndarray, "species species"]:
    """Below which distance, in Angstrom, two atoms of each two species are too close.

    Species that never meet in the data get the limit of the closest that do. Of potentials whose
    data are not known, as in files of aenet, only the descriptor's limit is left.

    Args:
        statistics: The statistics of the training split, see `AbstractMLIP.statistics`.
        least: The distance below which the descriptor leaves pairs out.
        n_species: How many species there are.
    """
    known = statistics.get("least_distances")
    if known is None:
        return np.full((n_species, n_species), least)
    found = np.array([[np.inf if d is None else d for d in row] for row in known], float)
    smallest = found.min(initial=np.inf)
    found = np.where(np.isfinite(found), found, smallest if np.isfinite(smallest) else 0.0)
    return np.maximum(SHARE * found, least)


_logger = logging.getLogger(__name__)

_SEARCHED = 0.5
"""Pairs are searched up to this distance at least, in Angstrom; cell lists need some width."""

_TOLD = 3
"""Number of structures that a warning names."""


class _Close(NamedTuple):
    name: str
    structure: Structure
    pair: Dropped

    def __str__(self) -> str:
        first, second = self.pair.first, self.pair.second
        symbols = self.structure.species
        other = f"{second} ({symbols[second]})" if second != first else "its own periodic image"
        return f"{self.name}, atoms {first} ({symbols[first]}) and {other}"


class ClosePairCheck:
    """Refuses data with two atoms at one place, and warns of pairs that a model does not see.

    Args:
        least: The distance below which the model leaves pairs out, in Angstrom.
    """

    def __init__(self, least: float):
        self._least = least
        self._count = 0
        self._close: list[_Close] = []

    def add(self, chunk: Chunk) -> None:
        """Look at the next structures.

        Raises:
            ValueError: If two atoms are at one place; structure and atoms are named.
        """
        begin, self._count = self._count, self._count + len(chunk.structures)
        for place, pair in _dropped(chunk, max(self._least, AT_ONE_PLACE)).items():
            structure = chunk.structures[place]
            found = _Close(structure.name or f"structure {begin + place}", structure, pair)
            if pair.distance <= AT_ONE_PLACE:
                raise ValueError(
                    f"{found} are at one place ({pair.distance:.3g} Angstrom apart); remove one "
                    "of them, or the structure."
                )
            self._close.append(found)

    def report(self) -> None:
        """Warn of close pairs, if there are any."""
        if not self._close:
            return
        closest = sorted(self._close, key=lambda found: found.pair.distance)
        told = "; ".join(f"{f}, {f.pair.distance:.3g} Angstrom" for f in closest[:_TOLD])
        more = f"; and {len(closest) - _TOLD} more" if len(closest) > _TOLD else ""
        _logger.warning(
            "In %s atoms are closer than min_cutoff=%g Angstrom, below which the "
            "descriptor sees no pairs, so that training cannot learn what they do: %s%s. Lower "
            "min_cutoff, or leave them out.",
            counted(len(closest), "structure"),
            self._least,
            told,
            more,
        )


def _dropped(chunk: Chunk, least: float) -> dict[int, Dropped]:
    """The closest pair below `least` of each structure that has one, by its place."""
    if chunk.knows_pairs:
        return dict(chunk.pairs.dropped)
    found = {}
    for place, structure in enumerate(chunk.structures):
        first, second, shifts = find_pairs(structure, max(least, _SEARCHED))
        positions = np.asarray(structure.positions)
        vectors = positions[second] - positions[first] + shifts @ structure.box
        pair = closest_dropped(first, second, np.sqrt(np.sum(vectors**2, axis=1)), least)
        if pair is not None:
            found[place] = pair
    return found
