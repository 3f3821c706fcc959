"""The potential energy."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values, in_double
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.features import norm
from ritz.molecule.wavefunction import nuclei_of

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

    def __post_init__(self) -> None:
        check_molecule(self.molecule)

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Float[Array, " n_samples"]:
        nuclei = nuclei_of(log_psi, self.molecule, jnp.result_type(float))
        return coulomb_energy(samples, nuclei, self.molecule.charges)


def coulomb_energy(
    electrons: Float[Array, "*shape n_electrons 3"],
    nuclei: Float[Array, "n_nuclei 3"],
    charges: tuple[int, ...],
) -> Float[Array, "*shape"]:
    """The Coulomb energy in hartree, summed in double where JAX is set to allow it.

    Args:
        electrons: Positions in bohr.
        nuclei: Positions in bohr.
        charges: Of the nuclei.
    """

    def energy(vectors: Array, products: np.ndarray) -> Array:
        inverse = 1 / jnp.maximum(in_double(norm(vectors)), SHORTEST)
        return jnp.sum(jnp.asarray(products, inverse.dtype) * inverse, axis=-1)

    z = np.array(charges, float)
    first, second = np.triu_indices(electrons.shape[-2], 1)
    i, j = np.triu_indices(len(charges), 1)
    near = nuclei.astype(electrons.dtype)
    to_nuclei = jnp.sum(energy(electrons[..., None, :] - near, z), axis=-1)
    between = energy(electrons[..., first, :] - electrons[..., second, :], np.ones(len(first)))
    return between - to_nuclei + energy(nuclei[i] - nuclei[j], z[i] * z[j])
