"""Scales of features and energies, from the statistics of a training split."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ritz.mlip.arrays import AnyArray

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

    def features(self, raw: Any) -> Any:
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


def fit_normalisation(
    features: FeatureStatistics, energies: np.ndarray, n_atoms: np.ndarray
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
    return Normalisation(features.mean, features.std, float(scaling), float(shift))
