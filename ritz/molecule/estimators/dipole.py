"""The dipole moment."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.wavefunction import nuclei_of


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Dipole(AbstractEstimator):
    """sum_I Z_I R_I - sum_i r_i, in atomic units (2.5417 debye).

    Positions count from the centre of nuclear charge, on which the dipole of an ion depends.

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
    ) -> Float[Array, "n_samples 3"]:
        charges = np.array(self.molecule.charges, float)
        nuclei = nuclei_of(log_psi, self.molecule, samples.dtype)
        centre = jnp.asarray(charges / charges.sum(), samples.dtype) @ nuclei
        return -jnp.sum(samples - centre, axis=1)
