"""What training asks of a model of energies."""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ritz.mlip.chunk import Chunk
from ritz.mlip.losses import Residuals
from ritz.mlip.normalisation import Normalisation
from ritz.mlip.rooms import GroupRoom
from ritz.mlip.split import Batch
from ritz.potentials import Structure

Widths = tuple[int, ...]
"""How long the rows of neighbours are that a model packs."""


class Prediction(NamedTuple):
    """What is predicted for a batch, less the energies of the atoms."""

    energy: Float[Array, " slots"]
    """In eV, less the shift of the normalisation."""
    forces: Float[Array, "atoms 3"] | None = None
    stress: Float[Array, "slots 3 3"] | None = None
    """In eV/Angstrom^3; of structures without three lattice vectors it means nothing."""

    def with_forces(self, forces: Any, virial: Any | None, batch: Batch) -> "Prediction":
        """With forces, and with stress if the atoms' shares of the virial are given."""
        if virial is None:
            return self._replace(forces=forces)
        virial = jax.ops.segment_sum(virial, batch.slot, len(batch.ids))
        return self._replace(forces=forces, stress=virial / batch.labels.volume[:, None, None])


class AbstractModel(abc.ABC):
    """Energies of atoms in their surroundings, as a function of parameters; hashable.

    Structures are packed on the host: `inputs` of all atoms, from which energies follow, and
    `tables` of those in structures whose forces are asked for, with what these need besides. Both
    are pytrees of arrays whose first axis is the atom, in the order of the chunk. Batches are
    gathered from them on the device, and `predict` takes these.
    """

    species: tuple[str, ...]
    """The chemical symbols that it knows; atoms are ordered by them."""

    cutoff: float
    """How far neighbours reach, in Angstrom."""

    least: float = 0.0
    """Closer pairs are left out, in Angstrom."""

    n_features: int = 0
    """How many features of an atom are normalised."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Any:
        """The first parameters."""

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
        """How long the rows of a chunk must be."""

    @abc.abstractmethod
    def row_bytes(self, widths: Widths, with_forces: bool, itemsize: int) -> int:
        """How many bytes the inputs of an atom take, and its tables if forces are asked for."""

    @abc.abstractmethod
    def inputs(
        self, chunk: Chunk, normalisation: Normalisation | None, widths: Widths, dtype: str
    ) -> Any:
        """What energies need; without a normalisation features stay as they are."""

    @abc.abstractmethod
    def tables(self, chunk: Chunk, widths: Widths, dtype: str, with_stress: bool) -> Any:
        """What forces need besides."""

    # In compiled programs.

    @abc.abstractmethod
    def localised(self, inputs: Any, tables: Any | None, begins: Sequence[Any]) -> tuple[Any, Any]:
        """Inputs and tables of the atoms of a batch, with neighbours counted within the batch.

        Args:
            inputs: Those of the atoms.
            tables: The same, or None if forces are not asked for.
            begins: For each species and atom, where that species begins in the atom's structure.
        """

    @abc.abstractmethod
    def predict(
        self,
        params: Any,
        normalisation: Normalisation,
        batch: Batch,
        room: GroupRoom,
    ) -> Prediction:
        """Energies of a batch, and forces if it has what they need."""

    @abc.abstractmethod
    def atomic_energies(
        self, params: Any, normalisation: Normalisation, structure: Structure, kinds: Any
    ) -> Float[Array, " n_atoms"]:
        """The energy of each atom of one structure, less the shift and that of the free atom.

        Args:
            params: The parameters.
            normalisation: The scales.
            structure: As potentials see it; some neighbours may be farther than the cutoff.
            kinds: The place of each atom's species.
        """


def residuals(prediction: Prediction, batch: Batch) -> Residuals:
    """The errors of a prediction."""
    labels = batch.labels
    energy = (prediction.energy - labels.energy) / batch.n_atoms
    if prediction.forces is None:
        return Residuals(energy, labels.weight)
    weight = jnp.where(labels.has_forces, labels.weight, 0)
    weight = jnp.where(batch.valid, weight[batch.slot], 0)
    assert batch.forces is not None
    found = Residuals(energy, labels.weight, prediction.forces - batch.forces, weight)
    if prediction.stress is None:
        return found
    return found._replace(
        stress=prediction.stress - labels.stress,
        stress_weight=jnp.where(labels.has_stress, labels.weight, 0),
    )
