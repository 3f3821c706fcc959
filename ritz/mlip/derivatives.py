"""From derivatives by features to forces, with derivatives of the features that are known."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ritz.mlip.chebyshev import ChebyshevDescriptor, LocalDerivatives


class Environments(NamedTuple):
    """What forces on atoms need of their neighbours; the first axis is the atom."""

    local: LocalDerivatives
    weights: Float[Array, "atoms n_neighbors"]
    """The weights s of the neighbours' species."""
    partners: Int[Array, "atoms n_neighbors"]
    """Where the same pair is seen from the other side, in the flattened array."""
    near_partners: Int[Array, "atoms n_near"]
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
) -> Float[Array, "atoms 3"]:
    """The forces on atoms, from derivatives of the energy by their features.

    With p_ij the derivative by the vector from i to j, the force on i is sum_j p_ij - p_ji. The
    radial part of p_ij is along the unit vector, and that of p_ji against it.
    """
    local, weights, partners, near_partners = environments
    radial, angular, radial_w, angular_w = (by_feature[:, part] for part in descriptor.parts)
    pull = _along(local.slopes, radial)
    if descriptor.is_weighted:
        pull += weights * _along(local.slopes, radial_w)
        angular = jnp.concatenate([angular, angular_w], axis=-1)
    pull = with_partners(pull, partners)
    along = [jnp.sum(local.units[:, axis] * pull, axis=-1) for axis in range(3)]
    pushes = [_along(local.angular[:, :, axis], angular) for axis in range(3)]
    across = [jnp.sum(with_partners(p, near_partners, -1), axis=-1) for p in pushes]
    return jnp.stack([a + b for a, b in zip(along, across, strict=True)], axis=-1)


def _along(table: Float[Array, "atoms n k"], slopes: Float[Array, "atoms n"]) -> Any:
    """sum_n table[:, n] slopes[:, n], term by term, which compilers make one loop of."""
    total = table[:, 0] * slopes[:, 0, None]
    for n in range(1, table.shape[1]):
        total += table[:, n] * slopes[:, n, None]
    return total
