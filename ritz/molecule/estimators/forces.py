"""Forces on nuclei."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values
from ritz.molecule.molecule import Molecule
from ritz.molecule.networks.features import norm


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Forces(AbstractEstimator):
    """Hellmann-Feynman forces on the nuclei, in hartree/bohr, with a finite variance.

    The bare electric field, Z x / r^3, has an infinite variance. Adding the local value of
    (H - E_L) Q psi / psi with Q = -Z x / r, whose mean is zero as H is Hermitian, leaves
    Z grad(x / r) . grad log psi (Assaraf and Caffarel, J. Chem. Phys. 119, 10536, 2003, eqs. 15 to
    18). They are the derivatives of the energy as far as the wave function is exact: Pulay's terms
    are left out.

    Args:
        molecule: The molecule, without pseudopotentials.

    Raises:
        ValueError: If it has pseudopotentials, whose derivatives are not estimated.
    """

    molecule: Molecule

    def __post_init__(self) -> None:
        if self.molecule.ecp:
            told = ", ".join(f"{name} for {element}" for element, name in self.molecule.ecp)
            raise ValueError(
                "Forces are those of bare nuclei, but the molecule has pseudopotentials "
                f"({told}); leave Forces out, or give a molecule without ecp."
            )

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Float[Array, "n_samples n_nuclei 3"]:
        number = samples.dtype
        nuclei = jnp.asarray(self.molecule.coordinates, number)
        charges = jnp.asarray(self.molecule.charges, number)
        slopes = jax.grad(lambda x: jnp.sum(jnp.real(log_psi(params, x))))(samples)
        vectors = samples[:, :, None] - nuclei
        distances = norm(vectors)[..., None]
        far = jnp.where(distances > 0, distances, 1)
        units = vectors / far
        along = jnp.sum(units * slopes[:, :, None], axis=-1, keepdims=True)
        of_electrons = jnp.sum((slopes[:, :, None] - along * units) / far, axis=1)
        return charges[:, None] * of_electrons + jnp.asarray(self._between_nuclei(), number)

    def _between_nuclei(self) -> Float[np.ndarray, "n_nuclei 3"]:
        charges, places = np.array(self.molecule.charges, float), self.molecule.coordinates
        vectors = places[:, None] - places
        distances = np.linalg.norm(vectors, axis=-1) + np.eye(len(places))
        return np.sum((charges[:, None] * charges / distances**3)[..., None] * vectors, axis=1)
