"""The derivatives of log psi of one sample: by layers as factors, by other parameters as rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ritz.updates.claimed_mode import LogPsi
from ritz.updates.layers import Layer, with_shifts
from ritz.updates.realify import realify


class LayerDerivatives(NamedTuple):
    """What the derivative of log psi of one sample by the matrix of a layer is made of.

    It is sum_r a_r g_r^T, for each part of log psi.
    """

    inputs: Inexact[Array, "n_uses n_rows"]
    """a_r, with a one at the end if there is a bias."""
    slopes: Inexact[Array, "n_parts n_uses n_outputs"]
    """g_r, the derivative of a part of log psi by the output, as `jax.grad` has it."""


def other_places(layers: Sequence[Layer], leaves: Sequence[Any]) -> list[int]:
    """The places of the leaves that belong to none of `layers`."""
    taken = {place for layer in layers for place in layer.leaves}
    return [place for place in range(len(leaves)) if place not in taken]


def sample_derivatives(
    log_psi: LogPsi,
    params: PyTree,
    sample: PyTree,
    *,
    mode: str,
    layers: Sequence[Layer],
    groups: Sequence[Sequence[int]],
) -> tuple[list[Inexact[Array, "n_parts n"]], list[LayerDerivatives]]:
    """The derivatives of log psi of one sample, from one forward and one backward pass.

    Parts of log psi are its real part in the mode "real", real and imaginary part in "complex",
    and the complex number itself in "holomorphic".

    Args:
        log_psi: `(params, samples) -> log psi`, for a batch.
        params: The parameters.
        sample: One sample, without the axis of samples.
        mode: "real", "complex" or "holomorphic".
        layers: From `linear_layers`.
        groups: Places of leaves that belong to none of them, in groups.

    Returns:
        For each group the rows by its parameters, in the form of `realify`; for each layer its
        factors.
    """
    # Layers are found by the identity of their arrays, of which one may be there twice.
    params = jax.tree.map(jnp.array, params)
    leaves, structure = jax.tree.flatten(params)
    members = [[leaves[place] for place in group] for group in groups]
    forms = [realify(member, mode) for member in members]
    _, calls = with_shifts(log_psi, params, sample, layers)
    zeros = [jnp.zeros_like(call.outputs) for call in calls]

    def value(vectors: list[Array], shifts: list[Array]) -> tuple[Array, list[Array]]:
        new = list(leaves)
        for group, form, vector in zip(groups, forms, vectors, strict=True):
            for place, leaf in zip(group, form.restore(vector), strict=True):
                new[place] = leaf
        whole = jax.tree.unflatten(structure, new)
        log, calls = with_shifts(log_psi, whole, sample, layers, shifts)
        parts = {"real": [log.real], "complex": [log.real, log.imag], "holomorphic": [log]}
        return jnp.stack(parts[mode]), [call.inputs for call in calls]

    vectors = [form.flatten(member) for form, member in zip(forms, members, strict=True)]
    parts, pull, inputs = jax.vjp(value, vectors, zeros, has_aux=True)
    rows, by_shifts = jax.vmap(pull)(jnp.eye(len(parts), dtype=parts.dtype))
    found = []
    for layer in layers:
        at = [k for k, call in enumerate(calls) if call.layer == layer]
        number = leaves[layer.kernel].dtype
        a = jnp.concatenate([inputs[k].reshape(-1, layer.n_inputs) for k in at])
        if layer.bias is not None:
            a = jnp.concatenate([a, jnp.ones_like(a[:, :1])], axis=1)
        g = jnp.concatenate([jax.vmap(calls[k].by_use)(by_shifts[k]) for k in at], axis=1)
        found.append(LayerDerivatives(a.astype(number), g.astype(number)))
    return rows, found
