"""Linear layers of flax models: their inputs, and the derivatives of log psi by their outputs.

The derivative of log psi by the kernel of a linear layer is the sum over the layer's uses r (calls,
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
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from ritz.updates.claimed_mode import LogPsi
from ritz.updates.linear_layers import as_product


class Layer(NamedTuple):
    """A linear layer of a model, by the places of its parameters among the leaves of all."""

    kind: str
    """The name of its class."""
    kernel: int
    bias: int | None
    kernel_axes: tuple[int, ...]
    """Axes of the kernel: first those of inputs, then those of outputs."""
    n_inputs: int
    n_outputs: int

    @property
    def leaves(self) -> tuple[int, ...]:
        """The places of its parameters."""
        return (self.kernel,) if self.bias is None else (self.kernel, self.bias)

    @property
    def n_rows(self) -> int:
        """Number of inputs, with the one that belongs to the bias."""
        return self.n_inputs + len(self.leaves) - 1

    def matrix(self, leaves: Sequence[Array]) -> Inexact[Array, "n_rows n_outputs"]:
        """Kernel and bias, among the leaves of all parameters, as one matrix."""
        kernel = jnp.transpose(leaves[self.kernel], self.kernel_axes)
        kernel = kernel.reshape(self.n_inputs, self.n_outputs)
        if self.bias is None:
            return kernel
        return jnp.concatenate([kernel, leaves[self.bias].reshape(1, -1)])

    def put(self, leaves: list[Array], matrix: Inexact[Array, "n_rows n_outputs"]) -> None:
        """Put a matrix in the place of kernel and bias among the leaves of all parameters."""
        shape = leaves[self.kernel].shape
        kernel = matrix[: self.n_inputs].reshape([shape[axis] for axis in self.kernel_axes])
        leaves[self.kernel] = jnp.transpose(kernel, np.argsort(self.kernel_axes).tolist())
        if self.bias is not None:
            leaves[self.bias] = matrix[-1].reshape(leaves[self.bias].shape)


@dataclasses.dataclass(frozen=True)
class _Call:
    """A call of a layer, while a model is traced."""

    layer: Layer
    inputs: Array
    """Shape (*uses, n_inputs)."""
    outputs: Array
    output_axes: tuple[int, ...]
    """Axes of the output: first those of uses."""

    @property
    def n_uses(self) -> int:
        return math.prod(self.inputs.shape) // self.layer.n_inputs

    def by_use(self, of_outputs: Array) -> Inexact[Array, "n_uses n_outputs"]:
        """An array like the output, use by use."""
        moved = jnp.transpose(of_outputs, self.output_axes)
        return moved.reshape(self.n_uses, self.layer.n_outputs)


def linear_layers(
    log_psi: LogPsi, params: PyTree, sample: PyTree, worthwhile: Callable[[Layer, int], bool]
) -> tuple[Layer, ...]:
    """The linear layers of a model, for `with_shifts`.

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
    uses: dict[Layer, int] = {}
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
    layers: Sequence[Layer],
    outputs: Sequence[jax.ShapeDtypeStruct],
) -> tuple[Layer, ...]:
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
    layers: Sequence[Layer],
    shifts: Sequence[Array] | None = None,
) -> tuple[Inexact[Array, ""], list[_Call]]:
    """Log psi of one sample if something is added to the outputs of layers, and their calls.

    Args:
        log_psi: `(params, samples) -> log psi`.
        params: The parameters.
        sample: One sample, without the axis of samples.
        layers: From `linear_layers`.
        shifts: What is added at each call of one of them; nothing by default.
    """
    calls: list[_Call] = []

    def shifted(call: _Call) -> Array:
        if call.layer not in layers:
            return call.outputs
        calls.append(call)
        return call.outputs if shifts is None else call.outputs + shifts[len(calls) - 1]

    return _intercepted(log_psi, params, sample, shifted), calls


def _intercepted(
    log_psi: LogPsi, params: PyTree, sample: PyTree, replace: Callable[[_Call], Array]
) -> Array:
    """Log psi of one sample, with other outputs of its linear layers."""
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
        call = _call(module, args, outputs, places)
        return outputs if call is None else replace(call)

    with nn.intercept_methods(interceptor):
        samples = jax.tree.map(lambda leaf: leaf[None], sample)
        return log_psi(params, samples)[0]


def _call(module: Any, args: Sequence[Any], outputs: Any, places: dict[int, int]) -> _Call | None:
    """The call of a linear layer, if its parameters are among those of `places`, by identity."""
    parameters = dict(module.variables.get("params", {}))
    kernel, bias = parameters.pop("kernel", None), parameters.pop("bias", None)
    if parameters or id(kernel) not in places or (bias is not None and id(bias) not in places):
        return None
    product = as_product(module, args, kernel, outputs)
    if product is None or not kernel.size:
        return None
    inputs = product.inputs
    n_inputs = inputs.shape[-1]
    if jnp.iscomplexobj(inputs) and jnp.isrealobj(kernel):
        return None
    layer = Layer(
        kind=type(module).__name__,
        kernel=places[id(kernel)],
        bias=None if bias is None else places[id(bias)],
        kernel_axes=product.kernel_axes,
        n_inputs=n_inputs,
        n_outputs=kernel.size // n_inputs,
    )
    return _Call(layer, inputs, outputs, product.output_axes)
