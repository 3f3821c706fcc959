"""The derivatives of log psi for each sample."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ritz.full_precision import in_full_precision
from ritz.updates.chunks import mapped
from ritz.updates.claimed_mode import LogPsi
from ritz.updates.derivatives import LayerDerivatives, other_places, sample_derivatives
from ritz.updates.gram import materialised
from ritz.updates.layers import Layer, linear_layers, of_sample
from ritz.updates.linear_layers import is_summed
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
    summed = convolutions(log_psi, params, samples)

    def one(sample: PyTree) -> Array:
        return sample_rows(log_psi, params, sample, mode=mode, summed=summed)[0]

    return centred_rows(mapped(one, samples, chunk_size), probabilities)


def convolutions(log_psi: LogPsi, params: PyTree, samples: PyTree) -> tuple[Layer, ...]:
    """The convolutions of a model, by the kernels of which `sample_rows` differentiates by patches.

    Derivatives of each sample by a kernel would be a convolution with a group for each sample, for
    which XLA takes a time that grows with the square of their number on CPUs.

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: The parameters.
        samples: First axis n_samples; only shapes and types count.
    """
    sample = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), samples)
    return linear_layers(
        of_sample(log_psi), params, sample, suits=lambda layer, _: is_summed(layer.kind)
    )


def sample_rows(
    log_psi: LogPsi,
    params: PyTree,
    sample: PyTree,
    *,
    mode: str,
    summed: Sequence[Layer] = (),
    factored: Sequence[Layer] = (),
) -> tuple[Inexact[Array, "n_parts n"], list[LayerDerivatives]]:
    """The derivatives of log psi of one sample: rows, and factors of some layers.

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: The parameters.
        sample: One sample, without the axis of samples.
        mode: "real", "complex" or "holomorphic".
        summed: Layers by whose kernels rows are sums over uses.
        factored: Other layers, of which factors are returned.

    Returns:
        Rows by all parameters but those of `factored`, and for each of `factored` its factors.
    """
    leaves = jax.tree.leaves(params)
    groups = [other_places([*factored, *summed], leaves)]
    layers = [*factored, *summed]
    [rows], found = sample_derivatives(
        log_psi, params, sample, mode=mode, layers=layers, groups=groups
    )
    if not summed:
        return rows, found
    form = realify([leaves[place] for place in groups[0]], mode)
    places = other_places(factored, leaves)
    whole = []
    for k, row in enumerate(rows):
        parts = list(leaves)
        for place, part in zip(groups[0], form.restore(row), strict=True):
            parts[place] = part
        for layer, one in zip(summed, found[len(factored) :], strict=True):
            layer.put(parts, _matrix(one, k, mode))
        chosen = [parts[place] for place in places]
        whole.append(realify(chosen, mode).flatten(chosen))
    return jnp.stack(whole), found[: len(factored)]


@in_full_precision
def _matrix(of_layer: LayerDerivatives, part: int, mode: str) -> Inexact[Array, "n_rows n_outputs"]:
    """Derivatives of a part of log psi by a layer's matrix; by x as real, by y as imaginary part.

    For complex kernels x + iy; in the mode "holomorphic", the derivative by the kernel itself.
    """
    matrix = of_layer.inputs.T @ of_layer.slopes[part]
    return matrix if mode == "holomorphic" else jnp.conj(matrix)


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
