"""Linear potentials from data sets, in closed form."""

import dataclasses
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ritz.mlip.batching.survey import Survey, Targets, chunks_of, survey_dataset
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.structure import Structure
from ritz.mlip.descriptors.chunk import Chunk
from ritz.mlip.linear.config import FitConfig
from ritz.mlip.linear.design import design_rows
from ritz.mlip.linear.normal_equations import ENERGY, FORCES, STRESS, Moments, Problem, Solution
from ritz.mlip.models.abstract_model import SMALLEST, Normalisation
from ritz.mlip.models.atomic import AtomicModel, Networks
from ritz.mlip.training.prepare import normalisation_of, statistics_of
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LinearFit:
    """Weights of the features, and what they were fitted with."""

    networks: Networks
    normalisation: Normalisation
    statistics: Settings
    solution: Solution


def fit_linear(model: AtomicModel, data: AbstractDataset, config: FitConfig) -> LinearFit:
    """Fit networks without hidden layers to a data set.

    Args:
        model: What is fitted.
        data: The training split.
        config: How it is fitted.

    Raises:
        ValueError: If labels that are asked for are missing, or there are fewer structures than
            folds.
    """
    if len(data) < config.folds:
        raise ValueError(
            f"folds={config.folds} need as many structures, but "
            f"{counted(len(data), 'structure', 'is')} there to fit to; give more, or fewer folds."
        )
    began = time.perf_counter()
    targets = Targets(config.force_weight > 0, config.stress_weight > 0)
    known = survey_dataset(model, data, targets, False, True)
    normalisation = normalisation_of(known, config.for_data)
    problem = _problem(model, data, known, normalisation, config)
    ready = time.perf_counter()
    _logger.info(
        "The rows of %s were added up in %.0f s; solving for %d weights.",
        counted(len(data), "structure"),
        ready - began,
        len(problem.free),
    )
    ratios = {ENERGY: config.energy_ratio, STRESS: config.stress_ratio}
    solution = problem.fit(config.regularisation, ratios)
    return LinearFit(
        _networks(model, solution.weights, normalisation),
        normalisation,
        statistics_of(known),
        solution,
    )


def _problem(
    model: AtomicModel,
    data: AbstractDataset,
    known: Survey,
    normalisation: Normalisation,
    config: FitConfig,
) -> Problem:
    n_species, n_features = len(model.species), model.n_features
    n_columns = n_species * (n_features + 1)
    shares = {
        ENERGY: 1 - config.force_weight,
        FORCES: config.force_weight,
        STRESS: config.stress_weight,
    }
    names = [name for name, share in shares.items() if share > 0]
    folds = [{name: Moments.zero(n_columns) for name in names} for _ in range(config.folds)]
    order = np.random.default_rng(config.for_data.run_seed).permutation(len(data))
    fold_of = np.empty(len(data), int)
    fold_of[order] = np.arange(len(data)) % config.folds
    shifted = known.labels.energy - normalisation.e_shift * known.counts.sum(axis=1)
    most = max(1, int(config.memory_limit * 1e9 / (3 * 8 * 3 * n_columns)))
    for numbers, chunk in _parts(model, data, most):
        rows = _Rows.of(model, chunk, known.widths, normalisation, names)
        for place, number in enumerate(numbers):
            rows.add_to(folds[fold_of[number]], place, chunk.structures[place], shifted[number])
    free = np.arange(n_columns) >= n_species * n_features
    return Problem(folds, free, {name: shares[name] for name in names})


def _parts(
    model: AtomicModel, data: AbstractDataset, most: int
) -> Iterator[tuple[Sequence[int], Chunk]]:
    """The structures in parts of about `most` atoms, with their numbers in the data set."""
    begin = 0
    for chunk in chunks_of(model, data):
        part = np.cumsum(chunk.sizes) // most
        for which in np.unique(part):
            chosen = part == which
            yield (begin + np.flatnonzero(chosen)).tolist(), chunk.only(chosen)
        begin += len(chunk.sizes)


class _Rows(NamedTuple):
    """The normalised rows of some structures, with a column of ones for each species."""

    energies: np.ndarray
    """Per atom, of shape (n_structures, n_columns)."""
    forces: np.ndarray | None
    """Of shape (n_atoms, 3, n_columns)."""
    stresses: np.ndarray | None
    """Of shape (n_structures, 9, n_columns)."""
    first_atoms: np.ndarray

    @classmethod
    def of(
        cls,
        model: AtomicModel,
        chunk: Chunk,
        widths: Sequence[int],
        normalisation: Normalisation,
        names: Collection[str],
    ) -> "_Rows":
        """Compute the rows of a chunk, of the quantities that are named."""
        found = design_rows(
            model.descriptor,
            chunk,
            widths,
            with_forces=FORCES in names,
            with_virials=STRESS in names,
        )
        n_species = len(model.species)
        std = np.maximum(normalisation.std, SMALLEST)
        scale = 1 / np.tile(std, n_species)
        counts = chunk.counts / chunk.sizes[:, None]
        means = (counts[:, :, None] * np.asarray(normalisation.mean)).reshape(len(counts), -1)
        energies = (found.energies / chunk.sizes[:, None] - means) * scale
        first_atoms = np.cumsum([0, *chunk.sizes])
        energies = np.concatenate([energies, counts], axis=1)
        forces, stresses = found.forces, None
        if forces is not None:
            forces *= scale
            forces = _padded(forces, n_species)
        if found.virials is not None:
            volumes = np.array([structure.volume for structure in chunk.structures])
            stresses = found.virials.reshape(len(volumes), 9, -1) / volumes[:, None, None] * scale
            stresses = _padded(stresses, n_species)
        return cls(energies, forces, stresses, first_atoms)

    def add_to(
        self, fold: Mapping[str, Moments], place: int, structure: Structure, energy: float
    ) -> None:
        """Add the rows of a structure.

        Args:
            fold: Where they are added.
            place: Which of the structures.
            structure: It, with its labels.
            energy: Its energy, less that of the atoms and the shift.
        """
        weight = structure.weight
        row = self.energies[place : place + 1]
        if ENERGY in fold:
            fold[ENERGY].add(row, np.array([energy / len(structure)]), np.array([weight]))
        if FORCES in fold and structure.forces is not None and self.forces is not None:
            atoms = slice(*self.first_atoms[place : place + 2])
            values = np.ravel(structure.forces)
            rows = self.forces[atoms].reshape(len(values), -1)
            fold[FORCES].add(rows, values, np.full(len(values), weight))
        if STRESS in fold and structure.stress is not None and self.stresses is not None:
            values = np.ravel(structure.stress)
            fold[STRESS].add(self.stresses[place], values, np.full(9, weight))


def _padded(rows: np.ndarray, n_species: int) -> np.ndarray:
    """With a column of zeros for each species: derivatives of what does not change."""
    return np.concatenate([rows, np.zeros((*rows.shape[:-1], n_species))], axis=-1)


def _networks(model: AtomicModel, weights: np.ndarray, normalisation: Normalisation) -> Networks:
    """The weights of columns as networks without hidden layers."""
    n_species = len(model.species)
    slopes = weights[:-n_species].reshape(n_species, -1) * normalisation.e_scaling
    biases = weights[-n_species:] * normalisation.e_scaling
    return {
        symbol: [{"weights": slope[:, None], "bias": np.array([bias])}]
        for symbol, slope, bias in zip(model.species, slopes, biases, strict=True)
    }
