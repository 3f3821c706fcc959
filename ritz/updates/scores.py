"""The derivatives of log psi for each sample."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ritz.updates.chunks import mapped
from ritz.updates.claimed_mode import LogPsi
from ritz.updates.gram import materialised
from ritz.updates.realify import realify


def scores(
    log_psi: LogPsi,
    params: PyTree,
    samples: PyTree,
    probabilities: Array | float,
    mode: str,
    chunk_size: int | None = None,
) -> Inexact[Array, "n_rows n_parameters"]:
    """The centred derivatives of log psi times sqrt(probability); see `Problem`.

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: The parameters.
        samples: First axis n_samples.
        probabilities: Shape (n_samples,), or one number for all.
        mode: "real", "complex" or "holomorphic".
        chunk_size: Number of samples differentiated at once; None for all.

    Returns:
        Real, shape (n_samples, n_parameters) in the mode "real" and (2 n_samples, n_parameters)
        in "complex", real parts first; complex, (n_samples, n_parameters), in "holomorphic".
    """
    form = realify(params, mode)
    vector = form.flatten(params)

    def one(sample: PyTree) -> Array:
        def value(v: Array) -> Array:
            return log_psi(form.restore(v), sample[None])[0]

        if mode == "holomorphic":
            return jax.grad(value, holomorphic=True)(vector)[None]
        if mode == "real":
            return jax.grad(lambda v: jnp.real(value(v)))(vector)[None]
        return jax.jacrev(lambda v: jnp.stack([jnp.real(value(v)), jnp.imag(value(v))]))(vector)

    # Shape (n_samples, 1 or 2, n_parameters).
    return centred_rows(mapped(one, samples, chunk_size), probabilities)


def centred_rows(
    rows: Inexact[Array, "n_samples n_parts n_parameters"], probabilities: Array | float
) -> Inexact[Array, "n_rows n_parameters"]:
    """Rows less their mean, times the root of the probability; first parts come first."""
    rows = rows.swapaxes(0, 1)
    weights = jnp.broadcast_to(jnp.asarray(probabilities), rows.shape[1:2])
    # A product is much faster here than a sum over the first axis of a large matrix.
    mean = jnp.einsum("n,knp->kp", weights.astype(rows.dtype), materialised(rows))
    rows = (rows - mean[:, None]) * jnp.sqrt(weights)[:, None]
    return materialised(rows.reshape(weights.size * len(rows), rows.shape[-1]))
