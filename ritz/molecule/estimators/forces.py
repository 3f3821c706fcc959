"""Forces on nuclei."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values
from ritz.estimators.statistics import Stats, statistics
from ritz.molecule.estimators.space_warp import slopes_of_warped
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.features import norm
from ritz.molecule.wavefunction import nuclei_of, takes_nuclei

ESTIMATORS = ("auto", "space_warp", "zero_variance_zero_bias", "zero_variance")


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Forces(AbstractEstimator):
    """Forces on the nuclei, in hartree/bohr, with a finite variance.

    - "space_warp" is the derivative of the variational energy, whatever the wave function, at fixed
      parameters: -<dE_L/dR + 2 (E_L - <E_L>) d(log |psi| + log J / 2)/dR>, where electrons follow
      the nuclei near them and J is the Jacobian of that (Filippi and Umrigar, Phys. Rev. B 61,
      R16291, 2000; Sorella and Capriotti, J. Chem. Phys. 133, 234111, 2010). Near nodes its values
      grow as 1/d^2, d = 1 / |grad log psi|, with an infinite variance; below d = `node_distance`
      they are multiplied by the polynomial of Pathak and Wagner, AIP Adv. 10, 085213 (2020), whose
      bias is of the third order in `node_distance`. The wave function must take positions of
      nuclei: the networks of Ritz do, and functions `(params, electrons, nuclei=None)`.
    - "zero_variance" is the Hellmann-Feynman force. The bare electric field, Z x / r^3, has an
      infinite variance. Adding the local value of (H - E_L) Q psi / psi with Q = -Z x / r, whose
      mean is zero as H is Hermitian, leaves Z grad(x / r) . grad log psi (Assaraf and Caffarel,
      J. Chem. Phys. 119, 10536, 2003, eqs. 15 to 18). Pulay's terms are left out: the error is of
      the first order in that of the wave function.
    - "zero_variance_zero_bias" adds 2 (E_L - <E_L>) Q to it, Pulay's term as if dpsi/dR were
      -Q psi (the same paper). It needs the estimator of the name "energy".

    <E_L> is the mean over the samples of a step, which makes Pulay's terms too small by one part in
    the number of samples.

    Args:
        molecule: The molecule, without pseudopotentials.
        estimator: One of these names, or "auto": "space_warp" for a wave function that takes
            positions of nuclei, else "zero_variance".
        node_distance: Of "space_warp", in bohr; 0 for the infinite variance.
        chunk_size: Number of walkers of which "space_warp" treats derivatives at once; None for
            all.

    Raises:
        ValueError: If the molecule has pseudopotentials, a setting is not allowed, or "space_warp"
            is asked of a wave function that takes no positions of nuclei.
    """

    molecule: Molecule
    estimator: str = "auto"
    node_distance: float = 0.01
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        check_molecule(self.molecule)
        if self.molecule.ecp:
            told = ", ".join(f"{name} for {element}" for element, name in self.molecule.ecp)
            raise ValueError(
                "Forces are those of bare nuclei, but the molecule has pseudopotentials "
                f"({told}); leave Forces out, or give a molecule without ecp."
            )
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_positive("node_distance", self.node_distance, or_zero=True)
        if self.chunk_size is not None:
            check_count("chunk_size", self.chunk_size, 1)

    @property
    def uses(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The local energy, where Pulay's term is made of it."""
        return ("energy",) if self.estimator == "zero_variance_zero_bias" else ()

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Values:
        """The force of each sample without Pulay's term, and what that term is made of.

        Returns:
            A dictionary: `force`, the shape (n_samples, n_nuclei, 3), and for estimators with
            Pulay's term `log_slope`, d log |psi| / dR, of the same shape, and `energy`, E_L.
        """
        psi: Any = log_psi
        if self.estimator == "space_warp" or (self.estimator == "auto" and takes_nuclei(psi)):
            return slopes_of_warped(
                self.molecule, psi, params, samples, self.node_distance, self.chunk_size
            )
        nuclei = nuclei_of(log_psi, self.molecule, samples.dtype)
        vectors = samples[:, :, None] - nuclei
        distances = norm(vectors)[..., None]
        units = vectors / distances
        slopes = self._zero_variance(log_psi, params, samples, units, distances)
        found = {"force": slopes + self._between(nuclei)}
        if self.estimator == "zero_variance_zero_bias":
            charges = jnp.asarray(self.molecule.charges, samples.dtype)
            found["log_slope"] = charges[:, None] * jnp.sum(units, axis=1)
            found["energy"] = jnp.real(values["energy"])
        return found

    def _zero_variance(
        self, log_psi: LogPsi, params: PyTree, samples: Array, units: Array, distances: Array
    ) -> Float[Array, "n_samples n_nuclei 3"]:
        number = samples.dtype
        charges = jnp.asarray(self.molecule.charges, number)
        slopes = jax.grad(lambda x: jnp.sum(jnp.real(log_psi(params, x))))(samples)
        along = jnp.sum(units * slopes[:, :, None], axis=-1, keepdims=True)
        far = jnp.where(jnp.any(units != 0, axis=-1, keepdims=True), distances, 1)
        of_electrons = jnp.sum((slopes[:, :, None] - along * units) / far, axis=1)
        return charges[:, None] * of_electrons

    def _between(self, nuclei: Float[Array, "n_nuclei 3"]) -> Float[Array, "n_nuclei 3"]:
        """Forces of the nuclei on one another."""
        charges = jnp.asarray(self.molecule.charges, nuclei.dtype)
        vectors = nuclei[:, None] - nuclei
        distances = norm(vectors) + jnp.eye(len(nuclei), dtype=nuclei.dtype)
        return jnp.sum((charges[:, None] * charges / distances**3)[..., None] * vectors, axis=1)

    @override
    def reduce(self, values: Values, weights: Float[Array, " n_samples"] | None = None) -> Stats:
        """Statistics of the forces, with Pulay's term: the covariance of E_L and d log |psi|."""
        force = values["force"]
        if "energy" in values:
            energy, slope = (
                part - statistics(part, weights).mean
                for part in (values["energy"], values["log_slope"])
            )
            force = force - 2 * energy[:, None, None] * slope
        return statistics(force, weights)
