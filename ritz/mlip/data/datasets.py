"""Data sets of structures."""

import abc
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from ritz.checks import check_fraction
from ritz.driver.signatures import suggests_names
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.data.reference_energies import check_species, without_isolated
from ritz.mlip.data.structure import Structure
from ritz.types import Settings
from ritz.wording import counted

_logger = logging.getLogger(__name__)


class Featurizer(Protocol):
    """Protocol of the descriptors that data sets take."""

    @property
    def species(self) -> Sequence[str]:
        """The chemical symbols of the atoms that it describes."""
        ...

    def header(self) -> Settings:
        """All that features depend on, as JSON can hold it."""
        ...

    def featurize_all(self, structures: Iterable[Structure], /) -> list[np.ndarray]:
        """The features of each structure, of shape (n_atoms, n_features)."""
        ...

    def file_rows(
        self,
        structures: Sequence[Structure],
        widths: tuple[int, int],
        *,
        with_features: bool,
        with_derivatives: bool,
    ) -> "FileRows":
        """Rows that files keep of some structures.

        Args:
            structures: The structures.
            widths: The least lengths of rows of neighbours, as given back for others before.
            with_features: Whether features are asked for.
            with_derivatives: Whether their derivatives are.
        """
        ...

    def unpack_derivatives(
        self, values: np.ndarray, indices: np.ndarray, n_atoms: int, /
    ) -> dict[str, np.ndarray]:
        """The derivatives of a structure, from what `file_rows` has given of it."""
        ...


class FileRows(NamedTuple):
    """Rows that files keep besides the structures themselves."""

    features: Sequence[np.ndarray] | None
    """By structure, of shape (n_atoms, n_features)."""
    derivatives: Sequence[tuple[np.ndarray, np.ndarray]] | None
    """By structure, real numbers and integers, each in one row."""
    widths: tuple[int, int]
    """Lengths that rows of neighbours need so far."""


class AbstractDataset(abc.ABC):
    """Structures that are read one by one, and the energies of free atoms that go with them."""

    descriptor: Featurizer | None
    """Computes the features; None for potentials without features."""

    atomic_energies: Mapping[str, float]
    """By species, in eV; what is taken off total energies. Others have 0."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def get_structure(self, index: int) -> Structure:
        """One of the structures."""

    def get_features(self, index: int) -> Float[np.ndarray, "n_atoms n_features"] | None:
        """The features of one of the structures, if they are known already."""
        return None

    @property
    def local_widths(self) -> tuple[int, int] | None:
        """Largest numbers of neighbours of an atom, as the descriptor counts them.

        None where derivatives of features are not kept.
        """
        return None

    def get_local_derivatives(self, index: int) -> Mapping[str, np.ndarray]:
        """The derivatives of the features of one of the structures, where they are kept.

        Raises:
            LookupError: If they are not.
        """
        raise LookupError("this data set keeps no derivatives.")

    def source_index(self, index: int) -> int:
        """The place of a structure in the data set that this one is a part of."""
        return index

    def __iter__(self) -> Iterator[Structure]:
        return (self.get_structure(index) for index in range(len(self)))


class StructureDataset(AbstractDataset):
    """Structures in memory.

    Args:
        structures: `Structure` or `ase.Atoms`, one or many.
        descriptor: What features are computed with; None for a `GraphPotential`.
        atomic_energies: By species, in eV; what is taken off total energies. None takes those of
            isolated atoms among the structures (`config_type="IsolatedAtom"`), which are never
            trained on; an empty mapping counts energies from zero.
        max_energy: Structures with more energy per atom, in eV and less that of the atoms, are
            left out.
        max_forces: Structures with a larger force on an atom, in eV/Angstrom, are left out.

    Raises:
        TypeError: If something is no structure.
        ValueError: If nothing is left, or `atomic_energies` lack a species of the structures or
            have one that the descriptor does not know.
    """

    @suggests_names
    def __init__(
        self,
        structures: StructuresLike,
        descriptor: Featurizer | None = None,
        atomic_energies: Mapping[str, float] | None = None,
        max_energy: float | None = None,
        max_forces: float | None = None,
    ):
        self.descriptor = descriptor
        condensed, self.atomic_energies = without_isolated(
            as_structures(structures), atomic_energies
        )
        if not condensed:
            raise ValueError("there are no structures but isolated atoms.")
        self.structures = keep_within_limits(
            condensed, self.atomic_energies, max_energy, max_forces
        )
        if atomic_energies is not None:  # only now, since what is left out needs none
            species = {symbol for structure in self.structures for symbol in structure.species}
            known = None if descriptor is None else descriptor.species
            check_species(atomic_energies, species, known)

    def __len__(self) -> int:
        return len(self.structures)

    @override
    def get_structure(self, index: int) -> Structure:
        return self.structures[index]


class CachedStructureDataset(AbstractDataset):
    """Structures in memory, with features that are computed when it is made.

    It takes the arguments of `StructureDataset`. What is trained on energies alone takes the
    features from here, so that several runs on one data set featurise it once.
    """

    def __init__(
        self, structures: StructuresLike, descriptor: Featurizer, *args: Any, **kwargs: Any
    ):
        plain = StructureDataset(structures, descriptor, *args, **kwargs)
        self.descriptor = descriptor
        self.atomic_energies = plain.atomic_energies
        self.structures = plain.structures
        self.features = descriptor.featurize_all(self.structures)
        """By structure, of shape (n_atoms, n_features)."""

    def __len__(self) -> int:
        return len(self.structures)

    @override
    def get_structure(self, index: int) -> Structure:
        return self.structures[index]

    @override
    def get_features(self, index: int) -> Float[np.ndarray, "n_atoms n_features"]:
        return self.features[index]


class Subset(AbstractDataset):
    """Some structures of a data set.

    Args:
        dataset: The data set.
        indices: Which of its structures.
    """

    def __init__(self, dataset: AbstractDataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = list(map(int, indices))
        self.descriptor = dataset.descriptor
        self.atomic_energies = dataset.atomic_energies

    def __len__(self) -> int:
        return len(self.indices)

    @override
    def get_structure(self, index: int) -> Structure:
        return self.dataset.get_structure(self.indices[index])

    @override
    def get_features(self, index: int) -> Float[np.ndarray, "n_atoms n_features"] | None:
        return self.dataset.get_features(self.indices[index])

    @property
    @override
    def local_widths(self) -> tuple[int, int] | None:
        return self.dataset.local_widths

    @override
    def get_local_derivatives(self, index: int) -> Mapping[str, np.ndarray]:
        return self.dataset.get_local_derivatives(self.indices[index])

    @override
    def source_index(self, index: int) -> int:
        return self.dataset.source_index(self.indices[index])


def referenced_energy(structure: Structure, atomic_energies: Mapping[str, float]) -> float:
    """The energy of a structure less that of its atoms, in eV; NaN if it is not known."""
    energy = np.nan if structure.energy is None else structure.energy
    return energy - free_atoms_energy(structure, atomic_energies)


def free_atoms_energy(structure: Structure, atomic_energies: Mapping[str, float]) -> float:
    """The sum of the energies of a structure's atoms, in eV."""
    return sum(
        count * atomic_energies.get(symbol, 0.0) for symbol, count in structure.composition.items()
    )


def within_limits(
    structure: Structure,
    atomic_energies: Mapping[str, float],
    max_energy: float | None,
    max_forces: float | None,
) -> bool:
    """Whether energy and forces of a structure are within limits; unknown ones are.

    Args:
        structure: The structure.
        atomic_energies: By species, in eV.
        max_energy: The most energy per atom, in eV and less that of the atoms.
        max_forces: The largest force on an atom, in eV/Angstrom.
    """
    energy = referenced_energy(structure, atomic_energies) / len(structure)
    if max_energy is not None and energy > max_energy:  # not if it is NaN
        return False
    if max_forces is None or structure.forces is None:
        return True
    return bool(np.max(np.linalg.norm(structure.forces, axis=1)) <= max_forces)


def keep_within_limits(
    structures: Sequence[Structure],
    atomic_energies: Mapping[str, float],
    max_energy: float | None,
    max_forces: float | None,
) -> list[Structure]:
    """The structures that are within limits, see `within_limits`; how many are not is logged.

    Raises:
        ValueError: If there is none.
    """
    kept = [s for s in structures if within_limits(s, atomic_energies, max_energy, max_forces)]
    if not kept:
        raise ValueError(
            f"of {counted(len(structures), 'structure')} none is within max_energy={max_energy!r} "
            f"eV per atom and max_forces={max_forces!r} eV/Angstrom."
        )
    if len(kept) < len(structures):
        _logger.info(
            "%d of %s left out: energies or forces are larger than max_energy or max_forces.",
            len(structures) - len(kept),
            counted(len(structures), "structure"),
        )
    return kept


def split_indices(count: int, percent: float, seed: int) -> tuple[list[int], list[int]]:
    """Which of `count` structures are trained on, and which are held out, both in order.

    `int(count * percent / 100)` are held out, the first after `random.Random(seed).shuffle`.
    """
    indices = list(range(count))
    random.Random(seed).shuffle(indices)
    n_test = int(count * percent / 100)
    return sorted(indices[n_test:]), sorted(indices[:n_test])


def train_test_split_dataset(
    dataset: AbstractDataset, test_fraction: float = 0.1, seed: int = 0
) -> tuple[Subset, Subset]:
    """Divide a data set at random.

    Args:
        dataset: The data set.
        test_fraction: Which fraction is held out.
        seed: Seeds the choice; the same as `split_seed` of a `TrainingConfig` with
            `testpercent=100 * test_fraction`.

    Returns:
        The structures to train on, and those that are held out.
    """
    check_fraction("test_fraction", test_fraction)
    train, test = split_indices(len(dataset), 100 * test_fraction, seed)
    return Subset(dataset, train), Subset(dataset, test)
