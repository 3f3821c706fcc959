"""Derivatives by parameters: by linear layers as factors, by other parameters as rows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ritz.updates.claimed_mode import LogPsi
from ritz.updates.layers import Call, Function, Layer, of_sample, with_shifts
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
    parts = {
        "real": lambda log: jnp.stack([log.real]),
        "complex": lambda log: jnp.stack([log.real, log.imag]),
        "holomorphic": lambda log: jnp.stack([log]),
    }[mode]
    found = linearised(
        of_sample(log_psi), params, (sample,), mode=mode, layers=layers, groups=groups, of=parts
    )
    rows, slopes = jax.vmap(found.pull)(jnp.eye(len(found.outputs), dtype=found.outputs.dtype))
    factors = zip(found.inputs, slopes, strict=True)
    return rows, [LayerDerivatives(*each) for each in factors]


class Linearised(NamedTuple):
    """A function at some parameters, and the map from what its result changes by."""

    outputs: Inexact[Array, "..."]
    """The result."""
    inputs: list[Inexact[Array, "n_uses n_rows"]]
    """Inputs of each layer, use by use, with a one at the end if there is a bias."""
    pull: Callable[[Array], tuple[list[Array], list[Array]]]
    """An array like the result -> the derivative of its product with the result, as `jax.grad` has
    it: for each group by the vector of its parameters, and for each layer by its outputs, of shape
    (n_uses, n_outputs)."""
    calls: list[list[Call]]
    """The calls of each layer, in the order of the uses."""


def linearised(
    function: Function,
    params: PyTree,
    arguments: Sequence[PyTree],
    *,
    mode: str,
    layers: Sequence[Layer],
    groups: Sequence[Sequence[int]] = (),
    of: Callable[[Array], Array] = lambda result: result,
) -> Linearised:
    """A function, with inputs of its layers, and what is needed for their slopes.

    Args:
        function: `(params, *arguments) -> numbers`.
        params: The parameters.
        arguments: What else it takes.
        mode: In which form complex parameters of groups are vectors, see `realify`.
        layers: From `linear_layers`.
        groups: Places of leaves that belong to none of them, in groups.
        of: Is applied to the result of the function.
    """
    # Layers are found by the identity of their arrays, of which one may be there twice.
    params = jax.tree.map(jnp.array, params)
    leaves, structure = jax.tree.flatten(params)
    members = [[leaves[place] for place in group] for group in groups]
    forms = [realify(member, mode) for member in members]
    _, calls = with_shifts(function, params, arguments, layers)
    zeros = [jnp.zeros_like(call.outputs) for call in calls]

    def value(vectors: list[Array], shifts: list[Array]) -> tuple[Array, list[Array]]:
        new = list(leaves)
        for group, form, vector in zip(groups, forms, vectors, strict=True):
            for place, leaf in zip(group, form.restore(vector), strict=True):
                new[place] = leaf
        whole = jax.tree.unflatten(structure, new)
        result, calls = with_shifts(function, whole, arguments, layers, shifts)
        return of(result), [call.inputs for call in calls]

    vectors = [form.flatten(member) for form, member in zip(forms, members, strict=True)]
    outputs, pullback, inputs = jax.vjp(value, vectors, zeros, has_aux=True)
    places = [[k for k, call in enumerate(calls) if call.layer == layer] for layer in layers]

    def inputs_of(layer: Layer, at: Sequence[int]) -> Array:
        a = jnp.concatenate([inputs[k].reshape(-1, layer.n_inputs) for k in at])
        if layer.bias is not None:
            a = jnp.concatenate([a, jnp.ones_like(a[:, :1])], axis=1)
        return a.astype(leaves[layer.kernel].dtype)

    def pull(weights: Array) -> tuple[list[Array], list[Array]]:
        rows, by_shifts = pullback(weights)
        slopes = [
            jnp.concatenate([calls[k].by_use(by_shifts[k]) for k in at]).astype(
                leaves[layer.kernel].dtype
            )
            for layer, at in zip(layers, places, strict=True)
        ]
        return rows, slopes

    return Linearised(
        outputs,
        [inputs_of(layer, at) for layer, at in zip(layers, places, strict=True)],
        pull,
        [[calls[k] for k in at] for at in places],
    )
