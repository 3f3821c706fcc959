"""Linear layers of models: their inputs, and the derivatives of what is computed by their outputs.

The derivative of a number by the kernel of a linear layer is the sum over the layer's uses r
(calls, electrons, sites, atoms) of a_r g_r^T, with the input a_r and the derivative g_r by the
output. Layers are found while the model is traced, in any model that calls modules of `flax.linen`
or the function `linear`, however it is wrapped. Layers inside `scan`, `vmap` or `jit` of the
model's own are left alone, as are those of which a parameter is used elsewhere too.
"""

import collections
import contextlib
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
from ritz.updates.linear_layers import MatrixProduct, as_product, watching

try:
    from jax.extend.core import get_opaque_trace_state  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # before jax 0.10
    from jax.core import get_opaque_trace_state

Function = Callable[..., Array]
"""`(params, *arguments) -> numbers`."""


def of_sample(log_psi: LogPsi) -> Function:
    """The function (params, sample) -> log psi of one sample, without the axis of samples."""

    def function(params: PyTree, sample: PyTree) -> Inexact[Array, ""]:
        return log_psi(params, jax.tree.map(lambda leaf: leaf[None], sample))[0]

    return function


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
class Call:
    """A call of a layer, while a model is traced."""

    layer: Layer
    inputs: Array
    """Shape (*uses, n_inputs)."""
    outputs: Array
    output_axes: tuple[int, ...]
    """Axes of the output: first those of uses."""

    @property
    def n_uses(self) -> int:
        """Number of vectors that the kernel is multiplied with."""
        return math.prod(self.inputs.shape) // self.layer.n_inputs

    def by_use(self, of_outputs: Array) -> Inexact[Array, "n_uses n_outputs"]:
        """An array like the output, use by use."""
        moved = jnp.transpose(of_outputs, self.output_axes)
        return moved.reshape(self.n_uses, self.layer.n_outputs)


def linear_layers(
    function: Function,
    params: PyTree,
    *arguments: PyTree,
    worthwhile: Callable[[Layer, int], bool] = lambda layer, n_uses: True,
    suits: Callable[[Layer, Call], bool] = lambda layer, call: True,
) -> tuple[Layer, ...]:
    """The linear layers of a model, for `with_shifts`.

    Args:
        function: `(params, *arguments) -> numbers`.
        params: The parameters.
        *arguments: Of these and the parameters only shapes and types count.
        worthwhile: Whether a layer, which is used so many times, is wanted.
        suits: Whether a call of a layer is of a form that is wanted; it must be true of all.
    """
    calls: list[Call] = []

    def found(call: Call) -> Array:
        calls.append(call)
        return call.outputs

    jax.eval_shape(lambda p, *x: _intercepted(function, p, x, found), params, *arguments)
    uses: dict[Layer, int] = {}
    for call in calls:
        uses[call.layer] = uses.get(call.layer, 0) + call.n_uses
    owners = collections.Counter(place for layer in uses for place in layer.leaves)
    wanted = [
        layer
        for layer, n_uses in uses.items()
        if worthwhile(layer, n_uses)
        and all(owners[place] == 1 for place in layer.leaves)
        and all(suits(layer, call) for call in calls if call.layer == layer)
    ]
    if not wanted:
        return ()
    shapes = [jax.ShapeDtypeStruct(c.outputs.shape, c.outputs.dtype) for c in calls]
    return _used_nowhere_else(function, params, arguments, wanted, shapes)


def _used_nowhere_else(
    function: Function,
    params: PyTree,
    arguments: Sequence[PyTree],
    layers: Sequence[Layer],
    outputs: Sequence[jax.ShapeDtypeStruct],
) -> tuple[Layer, ...]:
    """Those layers whose parameters reach the result through their outputs alone.

    With other outputs of the layers in their place, such parameters reach neither the result nor
    the input of any layer.
    """

    def with_given_outputs(
        params: PyTree, given: list[Array], *arguments: PyTree
    ) -> tuple[Array, list[Array]]:
        remaining, inputs = iter(given), []

        def replaced(call: Call) -> Array:
            output = next(remaining)
            if call.layer not in layers:
                return call.outputs
            inputs.append(call.inputs)
            return output

        return _intercepted(function, params, arguments, replaced), inputs

    jaxpr: Any = jax.make_jaxpr(with_given_outputs)(params, list(outputs), *arguments).jaxpr
    reach: dict[Any, set[int]] = {var: {place} for place, var in enumerate(jaxpr.invars)}
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not hasattr(v, "val")]
        sources = set().union(*(reach.get(v, set()) for v in inputs))
        reach |= dict.fromkeys(equation.outvars, sources)
    outvars = [v for v in jaxpr.outvars if not hasattr(v, "val")]
    reaching = set().union(*(reach.get(v, set()) for v in outvars))
    return tuple(layer for layer in layers if not reaching & set(layer.leaves))


def with_shifts(
    function: Function,
    params: PyTree,
    arguments: Sequence[PyTree],
    layers: Sequence[Layer],
    shifts: Sequence[Array] | None = None,
) -> tuple[Array, list[Call]]:
    """The result of a function if something is added to the outputs of layers, and their calls.

    Args:
        function: `(params, *arguments) -> numbers`.
        params: The parameters.
        arguments: What else the function takes.
        layers: From `linear_layers`.
        shifts: What is added at each call of one of them; nothing by default.
    """
    calls: list[Call] = []

    def shifted(call: Call) -> Array:
        if call.layer not in layers:
            return call.outputs
        calls.append(call)
        return call.outputs if shifts is None else call.outputs + shifts[len(calls) - 1]

    return _intercepted(function, params, arguments, shifted), calls


def _intercepted(
    function: Function,
    params: PyTree,
    arguments: Sequence[PyTree],
    replace: Callable[[Call], Array],
) -> Array:
    """The result of a function, with other outputs of its linear layers."""
    places = {id(leaf): place for place, leaf in enumerate(jax.tree.leaves(params))}
    level = _trace()

    def of_function(inputs: Array, kernel: Array, bias: Array | None, outputs: Array) -> Array:
        if _trace() != level:
            return outputs
        product = MatrixProduct(inputs, (0, 1), tuple(range(outputs.ndim)))
        call = _call("linear", product, kernel, bias, outputs, places)
        return outputs if call is None else replace(call)

    def of_module(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        outputs = next_fun(*args, **kwargs)
        if context.method_name != "__call__" or kwargs or _trace() != level:
            return outputs
        call = _call_of_module(context.module, args, outputs, places)
        return outputs if call is None else replace(call)

    with contextlib.ExitStack() as stack:
        stack.enter_context(watching(of_function))
        if "flax.linen" in sys.modules:
            stack.enter_context(sys.modules["flax.linen"].intercept_methods(of_module))
        return function(params, *arguments)


def _trace() -> Any:
    """The transformation of JAX that is at work."""
    return get_opaque_trace_state(convention="flax")


def _call_of_module(
    module: Any, args: Sequence[Any], outputs: Any, places: dict[int, int]
) -> Call | None:
    """The call of a module of flax that is a linear layer."""
    parameters = dict(module.variables.get("params", {}))
    kernel, bias = parameters.pop("kernel", None), parameters.pop("bias", None)
    if parameters or id(kernel) not in places:
        return None
    product = as_product(module, args, kernel, outputs)
    if product is None:
        return None
    return _call(type(module).__name__, product, kernel, bias, outputs, places)


def _call(
    kind: str,
    product: MatrixProduct,
    kernel: Array,
    bias: Array | None,
    outputs: Array,
    places: dict[int, int],
) -> Call | None:
    """The call of a linear layer, if its parameters are among those of `places`, by identity."""
    if id(kernel) not in places or (bias is not None and id(bias) not in places):
        return None
    inputs = product.inputs
    if not kernel.size or (jnp.iscomplexobj(inputs) and jnp.isrealobj(kernel)):
        return None
    n_inputs = inputs.shape[-1]
    layer = Layer(
        kind=kind,
        kernel=places[id(kernel)],
        bias=None if bias is None else places[id(bias)],
        kernel_axes=product.kernel_axes,
        n_inputs=n_inputs,
        n_outputs=kernel.size // n_inputs,
    )
    return Call(layer, inputs, outputs, product.output_axes)
