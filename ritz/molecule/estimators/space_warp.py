"""Derivatives with respect to nuclei that take electrons along."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ritz.molecule.estimators.kinetic import Kinetic
from ritz.molecule.estimators.potential import SHORTEST, coulomb_energy
from ritz.molecule.molecule import Molecule
from ritz.molecule.networks.features import norm
from ritz.molecule.wavefunction import LogPsi, nuclei_of, takes_nuclei
from ritz.updates.chunks import mapped


def warp_weights(
    electrons: Float[Array, "n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
) -> Float[Array, "n_electrons n_nuclei"]:
    """How much each electron follows each nucleus: r^-4 as a share of the sum over nuclei.

    Args:
        electrons: Positions in bohr.
        nuclei: Positions in bohr.
    """
    distances = jnp.maximum(norm(electrons[:, None] - nuclei), SHORTEST)
    nearest = jax.lax.stop_gradient(jnp.min(distances, axis=1, keepdims=True))
    powers = (nearest / distances) ** 4
    return powers / jnp.sum(powers, axis=1, keepdims=True)


def node_factor(
    slope: Float[Array, "n_electrons 3"], node_distance: float
) -> Float[Array, ""] | float:
    """7 x^6 - 15 x^4 + 9 x^2 for x < 1, else 1; x is the distance from the node in its unit.

    Pathak and Wagner, AIP Adv. 10, 085213 (2020).

    Args:
        slope: grad log |psi|, in 1/bohr; its inverse is the distance from a near node.
        node_distance: In bohr.
    """
    if node_distance == 0:
        return 1.0
    square = 1 / jnp.maximum(node_distance**2 * jnp.sum(slope**2), 1)
    return 7 * square**3 - 15 * square**2 + 9 * square


def slopes_of_warped(
    molecule: Molecule,
    log_psi: LogPsi,
    params: PyTree,
    samples: Float[Array, "n_samples n_electrons 3"],
    node_distance: float,
    chunk_size: int | None,
) -> dict[str, Array]:
    """Derivatives of E_L and log |psi| with respect to nuclei, which electrons follow.

    Args:
        molecule: The molecule.
        log_psi: A wave function that takes positions of nuclei.
        params: Its parameters.
        samples: Positions of electrons in bohr.
        node_distance: See `Forces`.
        chunk_size: See `Forces`.

    Returns:
        `force`, -dE_L/dR, and `log_slope`, d(log |psi| + log J / 2)/dR, both of the shape
        (n_samples, n_nuclei, 3), and `energy`, E_L.

    Raises:
        ValueError: If the wave function takes no positions of nuclei.
    """
    if not takes_nuclei(log_psi):
        raise ValueError(
            "estimator='space_warp' takes derivatives with respect to nuclei, but the wave "
            "function has no argument for their positions; define it as "
            "(params, electrons, nuclei=None), or a flax module's __call__ as "
            "(electrons, nuclei=None), or give estimator='zero_variance'."
        )
    nuclei = nuclei_of(log_psi, molecule, samples.dtype)
    kinetic = Kinetic()

    def of_one(electrons: Float[Array, "n_electrons 3"]) -> dict[str, Array]:
        weights = warp_weights(electrons, nuclei)

        def log(electrons: Array, nuclei: Array) -> Array:
            return jnp.real(log_psi.with_nuclei(nuclei)(params, electrons[None])[0])

        def energy(shift: Float[Array, "n_nuclei 3"]) -> Array:
            moved, places = electrons + weights @ shift, nuclei + shift
            found = kinetic.evaluate(log_psi.with_nuclei(places), params, moved[None], {})[0]
            return jnp.real(found) + coulomb_energy(moved, places, molecule.charges)

        still = jnp.zeros_like(nuclei)
        value, slope = jax.value_and_grad(energy)(still)
        of_electrons, of_nuclei = jax.grad(log, argnums=(0, 1))(electrons, nuclei)
        # The derivative of log J with respect to nucleus I is the divergence of its weights.
        spread = jax.jacfwd(lambda shift: jnp.sum(warp_weights(electrons + shift, nuclei), axis=0))(
            jnp.zeros(3, electrons.dtype)
        )
        log_slope = of_nuclei + weights.T @ of_electrons + spread / 2
        factor = node_factor(of_electrons, node_distance)
        return {"force": -factor * slope, "log_slope": factor * log_slope, "energy": value}

    return mapped(of_one, samples, chunk_size)
