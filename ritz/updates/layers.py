"""Dense layers of flax models: their inputs, and the derivatives of log psi by their outputs.

The derivative of log psi by the kernel of a dense layer is the sum over the layer's uses r (calls,
electrons, sites) of a_r g_r^T, with the input a_r and the derivative g_r by the output. Layers are
found while the model is traced, in any model that calls modules of `flax.linen`, however it is
wrapped. Layers inside `scan`, `vmap` or `jit` of the model's own are left alone, as are those of
which a parameter is used elsewhere too.
"""

import collections
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ritz.updates.claimed_mode import LogPsi


class DenseLayer(NamedTuple):
    """A dense layer of a model, by the places of its parameters among the leaves of all."""

    kernel: int
    bias: int | None
    n_inputs: int
    n_outputs: int

    @property
    def leaves(self) -> tuple[int, ...]:
        """The places of its parameters."""
        return (self.kernel,) if self.bias is None else (self.kernel, self.bias)


@dataclasses.dataclass(frozen=True)
class _Call:
    """A call of a layer, while a model is traced."""

    layer: DenseLayer
    inputs: Array
    outputs: Array

    @property
    def n_uses(self) -> int:
        return math.prod(self.inputs.shape) // self.layer.n_inputs


def dense_layers(
    log_psi: LogPsi, params: PyTree, sample: PyTree, worthwhile: Callable[[DenseLayer, int], bool]
) -> tuple[DenseLayer, ...]:
    """The dense layers of a model, for `with_shifts`.

    Args:
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        sample: One sample, without the axis of samples.
        worthwhile: Whether a layer, which a sample uses so many times, is wanted.
    """
    if "flax.linen" not in sys.modules:
        return ()
    calls: list[_Call] = []

    def found(call: _Call) -> Array:
        calls.append(call)
        return call.outputs

    jax.eval_shape(lambda p, x: _intercepted(log_psi, p, x, found), params, sample)
    uses: dict[DenseLayer, int] = {}
    for call in calls:
        uses[call.layer] = uses.get(call.layer, 0) + call.n_uses
    owners = collections.Counter(place for layer in uses for place in layer.leaves)
    wanted = [
        layer
        for layer, n_uses in uses.items()
        if worthwhile(layer, n_uses) and all(owners[place] == 1 for place in layer.leaves)
    ]
    shapes = [jax.ShapeDtypeStruct(c.outputs.shape, c.outputs.dtype) for c in calls]
    return _used_nowhere_else(log_psi, params, sample, wanted, shapes)


def _used_nowhere_else(
    log_psi: LogPsi,
    params: PyTree,
    sample: PyTree,
    layers: Sequence[DenseLayer],
    outputs: Sequence[jax.ShapeDtypeStruct],
) -> tuple[DenseLayer, ...]:
    """Those layers whose parameters reach log psi through their outputs alone.

    With other outputs of the layers in their place, such parameters reach neither log psi nor the
    input of any layer.
    """

    def with_given_outputs(
        params: PyTree, given: list[Array], sample: PyTree
    ) -> tuple[Array, list[Array]]:
        remaining, inputs = iter(given), []

        def replaced(call: _Call) -> Array:
            output = next(remaining)
            if call.layer not in layers:
                return call.outputs
            inputs.append(call.inputs)
            return output

        return _intercepted(log_psi, params, sample, replaced), inputs

    jaxpr: Any = jax.make_jaxpr(with_given_outputs)(params, list(outputs), sample).jaxpr
    reach: dict[Any, set[int]] = {var: {place} for place, var in enumerate(jaxpr.invars)}
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not hasattr(v, "val")]
        sources = set().union(*(reach.get(v, set()) for v in inputs))
        reach |= dict.fromkeys(equation.outvars, sources)
    outvars = [v for v in jaxpr.outvars if not hasattr(v, "val")]
    reaching = set().union(*(reach.get(v, set()) for v in outvars))
    return tuple(layer for layer in layers if not reaching & set(layer.leaves))


def with_shifts(
    log_psi: LogPsi,
    params: PyTree,
    sample: PyTree,
    layers: Sequence[DenseLayer],
    shifts: Sequence[Array] | None = None,
) -> tuple[Inexact[Array, ""], list[_Call]]:
    """Log psi of one sample if something is added to the outputs of layers, and their calls.

    Args:
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        sample: One sample, without the axis of samples.
        layers: From `dense_layers`.
        shifts: What is added at each call of one of them; nothing by default.
    """
    calls: list[_Call] = []

    def shifted(call: _Call) -> Array:
        if call.layer not in layers:
            return call.outputs
        calls.append(call)
        return call.outputs if shifts is None else call.outputs + shifts[len(calls) - 1]

    return _intercepted(log_psi, params, sample, shifted), calls


def joined_uses(arrays: Sequence[Array], width: int) -> Array:
    """The uses of a layer in all its calls, shape (n_uses, width)."""
    return jnp.concatenate([array.reshape(-1, width) for array in arrays])


def _intercepted(
    log_psi: LogPsi, params: PyTree, sample: PyTree, replace: Callable[[_Call], Array]
) -> Array:
    """Log psi of one sample, with other outputs of its dense layers."""
    from flax import linen as nn
    from flax.core import tracers

    places = {id(leaf): place for place, leaf in enumerate(jax.tree.leaves(params))}
    level = tracers.current_trace()

    def interceptor(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        outputs = next_fun(*args, **kwargs)
        module: Any = context.module
        here = tracers.current_trace() == level
        if context.method_name != "__call__" or kwargs or not here:
            return outputs
        inputs = _dense_inputs(module, args)
        if inputs is None:
            return outputs
        layer = _layer(module, inputs, places)
        return outputs if layer is None else replace(_Call(layer, inputs, outputs))

    with nn.intercept_methods(interceptor):
        samples = jax.tree.map(lambda leaf: leaf[None], sample)
        return log_psi(params, samples)[0]


def _dense_inputs(module: Any, args: Sequence[Any]) -> Array | None:
    """What a module multiplies by its kernel, shape (..., n_inputs); None if it is not dense."""
    from flax import linen as nn

    if type(module) not in (nn.Dense, nn.DenseGeneral) or not _multiplies_plainly(module):
        return None
    if type(module) is nn.Dense:
        return args[0]
    if module.batch_dims:
        return None
    inputs = args[0]
    axes = module.axis if isinstance(module.axis, Sequence) else (module.axis,)
    last = tuple(range(inputs.ndim - len(axes), inputs.ndim))
    if tuple(axis % inputs.ndim for axis in axes) != last:
        return None
    return inputs.reshape(*inputs.shape[: last[0]], -1)


def _multiplies_plainly(module: Any) -> bool:
    """Whether a dense module has no product and no conversion of its own."""
    from flax.linen.dtypes import promote_dtype

    own = getattr(module, "dot_general", None), getattr(module, "dot_general_cls", None)
    return own == (None, None) and getattr(module, "promote_dtype", promote_dtype) is promote_dtype


def _layer(module: Any, inputs: Array, places: dict[int, int]) -> DenseLayer | None:
    """A dense module as a layer, if its parameters are among those of `places`, by identity."""
    own = dict(module.variables.get("params", {}))
    kernel, bias = own.pop("kernel", None), own.pop("bias", None)
    if own or id(kernel) not in places or (bias is not None and id(bias) not in places):
        return None
    n_inputs = inputs.shape[-1]
    if not n_inputs or not kernel.size or (jnp.iscomplexobj(inputs) and jnp.isrealobj(kernel)):
        return None
    return DenseLayer(
        kernel=places[id(kernel)],
        bias=None if bias is None else places[id(bias)],
        n_inputs=n_inputs,
        n_outputs=kernel.size // n_inputs,
    )
