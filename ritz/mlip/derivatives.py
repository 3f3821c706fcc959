"""From derivatives by features to forces, with derivatives of the features that are known."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ritz.mlip.chebyshev import ChebyshevDescriptor, LocalDerivatives
from ritz.mlip.types import AnyArray


class Environments(NamedTuple):
    """What forces on atoms need of their neighbours; the first axis is the atom."""

    local: LocalDerivatives
    weights: Float[AnyArray, "atoms n_neighbors"]
    """The weights s of the neighbours' species."""
    partners: Int[AnyArray, "atoms n_neighbors"]
    """Where the same pair is seen from the other side, in the flattened array."""
    near_partners: Int[AnyArray, "atoms n_near"]
    """The same among the nearest."""


def with_partners(values: Any, partners: Any, sign: int = 1) -> Any:
    """`values + sign * values[partners]`, both of the shape of `partners`.

    Partners of partners are where one began, so that the map is its own transpose.
    """

    @jax.custom_vjp
    def both(values: Any) -> Any:
        other = values.reshape(-1)[partners]
        return values + other if sign > 0 else values - other

    both.defvjp(lambda values: (both(values), None), lambda _, slope: (both(slope),))
    return both(values)


def forces(
    descriptor: ChebyshevDescriptor,
    by_feature: Float[Array, "atoms n_features"],
    environments: Environments,
) -> tuple[Float[Array, "atoms 3"], Float[Array, "atoms 3 3"] | None]:
    """The forces on atoms and their shares of the virial, from the slopes of the energy.

    Args:
        descriptor: The descriptor.
        by_feature: Derivatives of the energy by the features.
        environments: Derivatives of the features; with distances for the virial.

    With p_ij the derivative by the vector from i to j, the force on i is sum_j p_ij - p_ji. The
    radial part of p_ij is along the unit vector, and that of p_ji against it.
    """
    local, weights, partners, near_partners = environments
    radial, angular, radial_w, angular_w = (by_feature[:, part] for part in descriptor.parts)
    pull = jnp.einsum("ank,an->ak", local.slopes, radial)
    if descriptor.is_weighted:
        pull += weights * jnp.einsum("ank,an->ak", local.slopes, radial_w)
        angular = jnp.concatenate([angular, angular_w], axis=-1)
    both = with_partners(pull, partners)
    along = jnp.einsum("axk,ak->ax", local.units, both)
    n_atoms, n_angular, _, near = local.angular.shape
    push = jnp.einsum("amp,am->ap", local.angular.reshape(n_atoms, n_angular, -1), angular)
    push = push.reshape(n_atoms, 3, near)
    across = [jnp.sum(with_partners(push[:, x], near_partners, -1), axis=-1) for x in range(3)]
    return along + jnp.stack(across, axis=-1), _virial(local, pull, push)


def _virial(local: LocalDerivatives, pull: Any, push: Any) -> Any:
    """The sum over neighbours of p_ij times the vector to j, made symmetric."""
    if local.distances is None:
        return None
    vectors = local.units * local.distances[:, None]
    near = push.shape[-1]
    found = jnp.einsum("axk,ayk->axy", local.units * pull[:, None], vectors)
    found += jnp.einsum("axk,ayk->axy", push, vectors[..., :near])
    return (found + jnp.swapaxes(found, -1, -2)) / 2
