"""Energies and forces of batches from networks of atoms."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ritz.mlip.chebyshev import ChebyshevDescriptor
from ritz.mlip.derivatives import forces
from ritz.mlip.losses import Residuals
from ritz.mlip.networks import Architecture, Networks, evaluate_network
from ritz.mlip.split import Batch
from ritz.mlip.types import AnyArray


class Normalisation(NamedTuple):
    """How features and energies are scaled for the networks.

    Features are (G - mean) / max(std, 1e-12); E = sum of the networks / e_scaling + e_shift n.
    """

    mean: Float[AnyArray, " n_features"]
    std: Float[AnyArray, " n_features"]
    e_scaling: Float[AnyArray, ""] | float
    e_shift: Float[AnyArray, ""] | float
    """In eV per atom."""

    def features(self, raw: Any) -> Any:
        """Normalised features."""
        return (raw - self.mean) / jnp.maximum(self.std, SMALLEST)


SMALLEST = 1e-12
"""The least standard deviation of a feature by which it is divided."""


def fit_normalisation(
    features: np.ndarray, energies: np.ndarray, n_atoms: np.ndarray
) -> Normalisation:
    """The statistics of a training split.

    Features get mean 0 and standard deviation 1 over all atoms, of all species together; energies
    per atom, less those of the atoms, get the range from -1 to 1.

    Args:
        features: Of all atoms.
        energies: Of the structures, less those of the atoms, in eV.
        n_atoms: How many atoms each structure has.
    """
    per_atom = energies / n_atoms
    low, high = per_atom.min(), per_atom.max()
    scaling, shift = (2 / (high - low), (high + low) / 2) if high > low else (1.0, 0.0)
    return Normalisation(features.mean(axis=0), features.std(axis=0), float(scaling), float(shift))


class Prediction(NamedTuple):
    """What is predicted for a batch, less the energies of the atoms."""

    energy: Float[Array, " slots"]
    """In eV, less the shift of the normalisation."""
    forces: Float[Array, "atoms 3"] | None = None
    stress: Float[Array, "slots 3 3"] | None = None
    """In eV/Angstrom^3; of structures without three lattice vectors it means nothing."""


@dataclasses.dataclass(frozen=True)
class AtomicModel:
    """A sum of networks of the atoms' features, one network for each species; hashable."""

    arch: Architecture
    descriptor: ChebyshevDescriptor

    def predict(
        self,
        networks: Networks,
        normalisation: Normalisation,
        batch: Batch,
        capacities: Sequence[int],
    ) -> Prediction:
        """Energies of a batch, and forces if it has what they need."""
        bounds = np.cumsum([0, *capacities])
        energies, by_feature = [], []
        for kind, (symbol, hidden) in enumerate(self.arch):
            own = batch.features[bounds[kind] : bounds[kind + 1]]

            def network(features: Any, symbol: str = symbol, hidden: Any = hidden) -> Any:
                return evaluate_network(networks[symbol], hidden, features)

            if batch.environments is None:
                energies.append(network(own))
            else:
                values, pullback = jax.vjp(network, own)
                energies.append(values)
                by_feature += pullback(jnp.ones_like(values))
        each = jnp.where(batch.valid, jnp.concatenate(energies), 0) / normalisation.e_scaling
        total = jax.ops.segment_sum(each, batch.slot, len(batch.ids))
        if batch.environments is None:
            return Prediction(total)
        scale = 1 / (normalisation.e_scaling * jnp.maximum(normalisation.std, SMALLEST))
        slopes = jnp.concatenate(by_feature) * scale
        slopes = jnp.where(batch.valid[:, None], slopes, 0)
        found, virial = forces(self.descriptor, slopes, batch.environments)
        if virial is None:
            return Prediction(total, found)
        virial = jax.ops.segment_sum(virial, batch.slot, len(batch.ids))
        return Prediction(total, found, virial / batch.labels.volume[:, None, None])


def residuals(prediction: Prediction, normalisation: Normalisation, batch: Batch) -> Residuals:
    """The errors of a prediction."""
    labels = batch.labels
    target = labels.energy - normalisation.e_shift * batch.n_atoms
    energy = (prediction.energy - target) / batch.n_atoms
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
