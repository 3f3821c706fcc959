"""Abstract model of atomic energies: scales of features and energies, batches, predictions."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ritz.mlip.arrays import AnyArray
from ritz.mlip.descriptors.chunk import Chunk
from ritz.potentials import AtomicGraph

SMALLEST = 1e-12
"""The least standard deviation of a feature by which it is divided."""


class Normalisation(NamedTuple):
    """Scales of features and energies for the networks.

    Features are (G - mean) / max(std, 1e-12); E = sum of the networks / e_scaling + e_shift n.
    """

    mean: Float[AnyArray, " n_features"]
    std: Float[AnyArray, " n_features"]
    e_scaling: Float[AnyArray, ""] | float
    e_shift: Float[AnyArray, ""] | float
    """In eV per atom."""

    def features(
        self, raw: Float[AnyArray, "*atoms n_features"]
    ) -> Float[AnyArray, "*atoms n_features"]:
        """Features minus their mean, divided by their standard deviation."""
        return (raw - self.mean) / jnp.maximum(self.std, SMALLEST)


class FeatureStatistics:
    """Mean, standard deviation and extremes of features that come in parts.

    Means and squares are joined by the formula of Chan, Golub and LeVeque (1979).
    """

    def __init__(self, n_features: int):
        self.count = 0
        self.mean = np.zeros(n_features)
        self.squares = np.zeros(n_features)
        """Sums of squared distances from the mean."""
        self.minimum = np.full(n_features, np.inf)
        self.maximum = np.full(n_features, -np.inf)

    def add(self, features: Float[np.ndarray, "atoms n_features"]) -> None:
        """Add the features of more atoms."""
        n = len(features)
        mean = features.mean(axis=0)
        apart, total = mean - self.mean, self.count + n
        self.squares += np.sum((features - mean) ** 2, axis=0) + apart**2 * self.count * n / total
        self.mean = self.mean + apart * n / total
        self.count = total
        self.minimum = np.minimum(self.minimum, features.min(axis=0))
        self.maximum = np.maximum(self.maximum, features.max(axis=0))

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each feature, shape (n_features,)."""
        return np.sqrt(self.squares / self.count)


_SAME_ENERGY = 1e-9
"""Energies per atom that differ by less, in eV, are the same but for rounding."""


def fit_normalisation(
    features: FeatureStatistics, energies: np.ndarray, n_atoms: np.ndarray
) -> Normalisation:
    """The statistics of a training split.

    Features get mean 0 and standard deviation 1 over all atoms, of all species together; energies
    per atom, less those of the atoms, get the range from -1 to 1. Where they are all the same, as
    those of a single structure, they are shifted to 0 and not scaled.

    Args:
        features: Of all atoms.
        energies: Of the structures, less those of the atoms, in eV.
        n_atoms: How many atoms each structure has.
    """
    per_atom = energies / n_atoms
    low, high = per_atom.min(), per_atom.max()
    scaling = 2 / (high - low) if high - low > _SAME_ENERGY else 1.0
    return Normalisation(features.mean, features.std, float(scaling), float((high + low) / 2))


class Labels(NamedTuple):
    """Energies, stresses and weights of structures, from their files."""

    energy: Float[AnyArray, " structures"]
    """In eV, less the energies of the atoms and the shift of the normalisation."""
    weight: Float[AnyArray, " structures"]
    stress: Float[AnyArray, "structures 3 3"]
    """In eV/Angstrom^3; zero where it is not known."""
    volume: Float[AnyArray, " structures"]
    has_stress: Bool[AnyArray, " structures"]
    has_forces: Bool[AnyArray, " structures"]
    has_tables: Bool[AnyArray, " structures"]
    """For which structures forces and stress can be predicted."""


class Batch(NamedTuple):
    """Some structures of a split; atoms are ordered by species, and by structure within it."""

    ids: Int[AnyArray, " slots"]
    """The structure in each slot; -1 for none."""
    n_atoms: Float[AnyArray, " slots"]
    """Number of atoms; 1 in empty slots."""
    labels: Labels
    """Weights of empty slots are zero."""
    slot: Int[AnyArray, " atoms"]
    """The structure of each atom."""
    valid: Bool[AnyArray, " atoms"]
    """Which places hold an atom."""
    begins: Sequence[Int[AnyArray, " atoms"]]
    """For each species and atom, the place of the first atom of that species in the structure."""
    inputs: PyTree
    """Inputs of the energies, atom by atom, see `AbstractModel.inputs`."""
    forces: Float[AnyArray, "atoms 3"] | None
    """Labels, in eV/Angstrom; None where forces are not asked for."""
    tables: PyTree | None
    """Tables from which forces follow, see `AbstractModel.tables`; None without forces."""


@dataclasses.dataclass(frozen=True)
class GroupCapacity:
    """Padded capacity of one group of a batch; hashable."""

    slots: int
    """Number of structures."""
    atoms: tuple[int, ...]
    """Number of atoms of each species."""
    supervised: bool
    """Whether forces of this group's structures are predicted."""
    stress: bool = False
    """Whether their stress is too."""

    def times(self, n_parts: int) -> Self:
        """The capacity of so many devices together."""
        atoms = tuple(n_parts * n for n in self.atoms)
        return dataclasses.replace(self, slots=n_parts * self.slots, atoms=atoms)

    def shared_by(self, n_parts: int) -> Self:
        """The capacity of each of so many devices, given that of all."""
        atoms = tuple(-(-n // n_parts) for n in self.atoms)
        return dataclasses.replace(self, slots=-(-self.slots // n_parts), atoms=atoms)

    def to_list(self) -> list[int | bool | list[int]]:
        """The fields as numbers and lists, for checkpoints."""
        return [self.slots, list(self.atoms), self.supervised, self.stress]

    @classmethod
    def from_list(cls, fields: Sequence[Any]) -> Self:
        """The capacity from the list that `to_list` gave, also read from a file."""
        slots, atoms, supervised, stress = fields
        return cls(int(slots), tuple(map(int, atoms)), bool(supervised), bool(stress))


Widths = tuple[int, ...]
"""Lengths of the rows of neighbours that a model packs."""


class Prediction(NamedTuple):
    """Prediction for a batch, less the energies of the free atoms."""

    energy: Float[Array, " slots"]
    """In eV, less the shift of the normalisation."""
    forces: Float[Array, "atoms 3"] | None = None
    """In eV/Angstrom."""
    virial: Float[Array, "atoms 3 3"] | None = None
    """The atoms' shares of stress times volume, in eV."""


class AbstractModel(abc.ABC):
    """Energies of atoms in their surroundings, as a function of parameters; hashable.

    Structures are packed on the host: `inputs` of all atoms, from which energies follow, and
    `tables` of those in structures whose forces are asked for, with what these need besides. Both
    are pytrees of arrays whose first axis is the atom, in the order of the chunk. Batches are
    gathered from them on the device, and `predict` takes these.
    """

    species: tuple[str, ...]
    """Chemical symbols that the model knows; atoms are ordered by them."""

    cutoff: float
    """Cutoff of the neighbours, in Angstrom."""

    min_distance: float = 0.0
    """Distance in Angstrom below which pairs are left out."""

    n_features: int = 0
    """Number of normalised features of an atom."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> PyTree:
        """Random parameters, a pytree of arrays, that training begins with."""

    # For optimisers that go by linear layers.

    @abc.abstractmethod
    def example(self) -> tuple[PyTree, tuple[int, ...]]:
        """Inputs of a few atoms, to trace `predict` with, and the number of each species."""

    def places_of(self, parameter: str, atoms: Sequence[int]) -> slice:
        """The atoms of a batch that a linear layer is applied to, one by one or with more axes.

        Args:
            parameter: The name of one of the layer's parameters, as path/in/the/tree.
            atoms: How many places of the batch each species has.
        """
        return slice(0, sum(atoms))

    # On the host.

    def features(
        self, chunk: Chunk, widths: Widths = (0, 0)
    ) -> Float[np.ndarray, "atoms n_features"]:
        """The features of all atoms of a chunk, which are to be normalised.

        With rows of given lengths their bits do not depend on what else is in the chunk.
        """
        return np.zeros((chunk.n_atoms, 0))

    @abc.abstractmethod
    def widths(self, chunk: Chunk, with_forces: bool) -> Widths:
        """Lengths that the rows of a chunk need."""

    @abc.abstractmethod
    def row_bytes(self, widths: Widths, with_forces: bool, itemsize: int) -> int:
        """Bytes of the inputs of an atom, with its tables if forces are predicted."""

    @abc.abstractmethod
    def inputs(
        self, chunk: Chunk, normalisation: Normalisation | None, widths: Widths, dtype: str
    ) -> PyTree:
        """Inputs of the energies; without a normalisation features stay as they are."""

    @abc.abstractmethod
    def tables(self, chunk: Chunk, widths: Widths, dtype: str, with_stress: bool) -> PyTree:
        """Tables: what forces need besides the inputs."""

    # In compiled programs.

    @abc.abstractmethod
    def predict(
        self,
        params: PyTree,
        normalisation: Normalisation,
        batch: Batch,
        capacity: GroupCapacity,
    ) -> Prediction:
        """Energies of a batch, and forces if it has what they need.

        Neighbours in inputs and tables are counted within their structure and species; adding
        `batch.begins` gives their places in the batch.
        """

    @abc.abstractmethod
    def atomic_energies(
        self,
        params: PyTree,
        normalisation: Normalisation,
        structure: AtomicGraph,
        kinds: Int[Array, " n_atoms"],
    ) -> Float[Array, " n_atoms"]:
        """The energy of each atom of one structure, less the shift and that of the free atom.

        Args:
            params: The parameters.
            normalisation: The scales.
            structure: As potentials see it; some neighbours may be farther than the cutoff.
            kinds: The place of each atom's species.
        """
