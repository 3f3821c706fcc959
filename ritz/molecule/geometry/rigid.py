"""Motions of a molecule as a whole."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_SMALL = 1e-6
"""Motions shorter than this, as a share of the longest, are none: turns about the axis of a linear
molecule."""


def without_rigid_motion(
    vectors: Float[Array, "*shape n_nuclei 3"], positions: Float[Array, "n_nuclei 3"]
) -> Float[Array, "*shape n_nuclei 3"]:
    """Forces, or displacements, without their parts that shift or turn the molecule as a whole.

    An energy that depends on distances alone has no such forces; their estimates are noise.

    Args:
        vectors: One for each nucleus.
        positions: Of the nuclei.
    """
    n = len(positions)
    from_centre = positions - jnp.mean(positions, axis=0)
    shifts = jnp.tile(jnp.eye(3, dtype=positions.dtype), (n, 1)).reshape(n, 3, 3)
    # Rows are the components of axis x position, for the three axes.
    turns = jnp.cross(jnp.asarray(np.eye(3), positions.dtype)[None], from_centre[:, None])
    motions = jnp.concatenate([shifts, jnp.moveaxis(turns, 1, 2)], axis=2).reshape(3 * n, 6)
    basis, lengths, _ = jnp.linalg.svd(motions, full_matrices=False)
    basis = jnp.where(lengths > _SMALL * jnp.max(lengths), basis, 0)
    flat = vectors.reshape(*vectors.shape[:-2], 3 * n)
    return (flat - (flat @ basis) @ basis.T).reshape(vectors.shape)
