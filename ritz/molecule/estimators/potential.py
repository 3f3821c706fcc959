"""The potential energy."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values, in_double
from ritz.molecule.molecule import Molecule
from ritz.molecule.networks.features import norm

SHORTEST = 1e-6
"""Distances below this, in bohr, count as this much, so that energies are finite everywhere."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Potential(AbstractEstimator):
    """Coulomb energy of electrons and nuclei, in hartree; of cores with pseudopotentials.

    Distances have the precision of the coordinates, as those in the wave function, whose kinetic
    energy cancels the poles; their inverses are added up in double precision, where JAX is set to
    allow it.

    Args:
        molecule: The molecule.
    """

    molecule: Molecule

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Float[Array, " n_samples"]:
        molecule, number = self.molecule, samples.dtype
        nuclei = jnp.asarray(molecule.coordinates, number)
        to_nuclei = in_double(norm(samples[:, :, None] - nuclei))
        charges = jnp.asarray(molecule.charges, to_nuclei.dtype)
        energy = -jnp.sum(charges / jnp.maximum(to_nuclei, SHORTEST), axis=(1, 2))
        first, second = np.triu_indices(samples.shape[1], 1)
        between = in_double(norm(samples[:, first] - samples[:, second]))
        energy = energy + jnp.sum(1 / jnp.maximum(between, SHORTEST), axis=1)
        return energy + jnp.asarray(molecule.nuclear_repulsion, energy.dtype)
