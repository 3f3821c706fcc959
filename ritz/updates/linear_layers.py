"""Layers that multiply their inputs by a kernel, in the form of a matrix product.

Whatever a layer is called, its output at a use r is y_r = a_r^T W + b: r counts calls, electrons,
sites or positions of a convolution, and a_r are inputs, or patches of them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

Axes = tuple[int, ...]


class MatrixProduct(NamedTuple):
    """A call of a layer as a matrix product."""

    inputs: Inexact[Array, "*uses n_inputs"]
    """What the kernel is multiplied by."""
    kernel_axes: Axes
    """Axes of the kernel: first those of inputs, then those of outputs."""
    output_axes: Axes
    """Axes of the output: first those of uses, in the order of `inputs`, then the others."""


AsProduct = Callable[[Any, Sequence[Any], Array, Array], MatrixProduct | None]
"""`(module, arguments, kernel, output) -> product`, or None for a call that is none."""

Watcher = Callable[[Array, Any, Any, Array], Array]
"""`(inputs, kernel, bias, outputs) -> outputs` of a call of `linear`."""

_watcher: ContextVar[Watcher | None] = ContextVar("_watcher", default=None)


def linear(
    inputs: Inexact[Array, "*uses n_inputs"],
    kernel: Inexact[Array | np.ndarray, "n_inputs n_outputs"],
    bias: Inexact[Array | np.ndarray, " n_outputs"] | None = None,
) -> Inexact[Array, "*uses n_outputs"]:
    """A linear layer that update rules see, in models that are no modules of flax.

    They see it where `kernel` and `bias` are themselves among the leaves of the parameters, and
    are used nowhere else.

    Args:
        inputs: The inputs.
        kernel: What they are multiplied by.
        bias: What is added to the products; None for nothing.
    """
    outputs: Any = inputs @ kernel if bias is None else inputs @ kernel + bias
    watcher = _watcher.get()
    return outputs if watcher is None else watcher(inputs, kernel, bias, outputs)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within it, `watcher` sees the calls of `linear`, and may change what they return."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


_REGISTERED: dict[type, AsProduct] = {}


_SUMMED: set[str] = {"Conv"}
"""Names of the classes whose derivatives of each sample are sums over uses, see `is_summed`."""


def register_layer(kind: type, as_product: AsProduct, *, summed: bool = False) -> None:
    """Let update rules see the layers of a class of flax modules.

    The module must have its kernel as the parameter `kernel`, perhaps a `bias` with an entry for
    each of the outputs of the kernel, and no other parameters.

    Args:
        kind: The class; subclasses are not meant.
        as_product: Gives a call of such a module as a matrix product.
        summed: Whether the derivative of a sample by the kernel is cheaper as the sum over uses
            that the product gives than by differentiating the module, as for convolutions.

    Raises:
        TypeError: If it is no class of flax modules, or no function.
    """
    from flax import linen as nn

    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise TypeError(f"kind must be a class of flax modules, but {kind!r} was given.")
    if not callable(as_product):
        raise TypeError(
            "as_product must be a function (module, arguments, kernel, output) -> MatrixProduct, "
            f"but {as_product!r} was given."
        )
    _REGISTERED[kind] = as_product
    if summed:
        _SUMMED.add(kind.__name__)


def is_summed(kind: str) -> bool:
    """Whether derivatives of each sample by kernels of a class are computed as sums over uses."""
    return kind in _SUMMED


def as_product(
    module: Any, args: Sequence[Any], kernel: Array, outputs: Array
) -> MatrixProduct | None:
    """A call of a flax module as a matrix product; None if it is none.

    Args:
        module: The module that was called, of `flax.linen`.
        args: What it was called with.
        kernel: Its kernel.
        outputs: What it returned.
    """
    from flax import linen as nn

    kinds: dict[type, AsProduct] = {
        nn.Dense: _dense,
        nn.DenseGeneral: _dense,
        nn.Einsum: _einsum,
        nn.Conv: _convolution,
        **_REGISTERED,
    }
    made = kinds.get(type(module))
    if made is None or not _multiplies_plainly(module):
        return None
    return made(module, args, kernel, outputs)


def _multiplies_plainly(module: Any) -> bool:
    """Whether a module has no product, convolution or conversion of its own, and no mask."""
    from flax.linen.dtypes import promote_dtype

    names = (
        "dot_general", "dot_general_cls", "conv_general_dilated", "conv_general_dilated_cls",
    )  # fmt: skip
    is_plain = all(getattr(module, name, None) is None for name in names)
    return is_plain and getattr(module, "promote_dtype", promote_dtype) is promote_dtype


def _in_order(n: int) -> Axes:
    return tuple(range(n))


def _dense(module: Any, args: Sequence[Any], kernel: Array, outputs: Array) -> MatrixProduct | None:
    """Dense and DenseGeneral over the last axes."""
    if getattr(module, "batch_dims", ()):
        return None
    inputs = args[0]
    given = getattr(module, "axis", -1)
    axes = given if isinstance(given, Sequence) else (given,)
    last = tuple(range(inputs.ndim - len(axes), inputs.ndim))
    if tuple(axis % inputs.ndim for axis in axes) != last:
        return None
    inputs = inputs.reshape(*inputs.shape[: last[0]], -1)
    return MatrixProduct(inputs, _in_order(kernel.ndim), _in_order(outputs.ndim))


def _einsum(
    module: Any, args: Sequence[Any], kernel: Array, outputs: Array
) -> MatrixProduct | None:
    """An einsum in which every axis of the kernel is of inputs or of outputs."""
    inputs, equation = args[0], args[1] if len(args) > 1 else module.einsum_str
    left, _, result = equation.replace(" ", "").partition("->")
    first, _, second = left.partition(",")
    if "..." in second or (first + result).count("...") not in (0, 2):
        return None
    unused = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    dots = "".join(unused[: inputs.ndim - len(first.replace("...", ""))])
    first, result = first.replace("...", dots), result.replace("...", dots)
    summed = [c for c in second if c in first and c not in result]
    features = [c for c in result if c in second and c not in first]
    uses = [c for c in first if c in result and c not in second]
    is_product = (
        sorted(second) == sorted([*summed, *features])
        and sorted(first) == sorted([*uses, *summed])
        and sorted(result) == sorted([*uses, *features])
    )
    if not is_product:
        return None
    order = [first.index(c) for c in (*uses, *summed)]
    moved = jnp.transpose(inputs, order)
    return MatrixProduct(
        moved.reshape(*moved.shape[: len(uses)], -1),
        tuple(second.index(c) for c in (*summed, *features)),
        tuple(result.index(c) for c in (*uses, *features)),
    )


def _convolution(
    module: Any, args: Sequence[Any], kernel: Array, outputs: Array
) -> MatrixProduct | None:
    """A convolution of one group, by its patches."""
    if module.feature_group_count != 1 or module.mask is not None:
        return None
    patches = _patches(module, args[0], kernel)
    if patches is None:
        return None
    return MatrixProduct(patches, _in_order(kernel.ndim), _in_order(outputs.ndim))


def _patches(module: Any, inputs: Array, kernel: Array) -> Array | None:
    """What the kernel of a convolution is multiplied by at each position of the output.

    Returns:
        Shape (*batch, *positions, sites of the kernel times channels); None for other paddings
        than those of flax's documentation.
    """
    sizes, n = kernel.shape[:-2], kernel.ndim - 2

    def one_each(given: Any) -> Axes:
        return (given or 1,) * n if given is None or isinstance(given, int) else tuple(given)

    strides, spread = one_each(module.strides), one_each(module.kernel_dilation)
    gaps = one_each(module.input_dilation)
    reach = [(size - 1) * s + 1 for size, s in zip(sizes, spread, strict=True)]
    batch = inputs.shape[: inputs.ndim - n - 1]
    x = inputs.reshape(-1, *inputs.shape[len(batch) :])
    padding = module.padding
    if padding in ("CIRCULAR", "REFLECT"):
        around = [((r - 1) // 2, r // 2) for r in reach]
        mode = "wrap" if padding == "CIRCULAR" else "reflect"
        x, padding = jnp.pad(x, [(0, 0), *around, (0, 0)], mode=mode), 0
    elif padding == "CAUSAL":
        padding = ((reach[0] - 1, 0),)
    if isinstance(padding, str):
        spaced = [(size - 1) * g + 1 for size, g in zip(x.shape[1:-1], gaps, strict=True)]
        if padding not in ("SAME", "VALID"):
            return None
        padding = jax.lax.padtype_to_pads(spaced, reach, strides, padding)
    elif isinstance(padding, int):
        padding = (padding,) * n
    pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in padding]
    if any(low < 0 or high < 0 for low, high in pairs):
        return None
    edges = [(low, high, gap - 1) for (low, high), gap in zip(pairs, gaps, strict=True)]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    lengths = [
        (size - r) // s + 1 for size, r, s in zip(x.shape[1:-1], reach, strides, strict=True)
    ]
    parts = []
    for offset in np.ndindex(*sizes):
        begin = [o * s for o, s in zip(offset, spread, strict=True)]
        end = [b + (k - 1) * s + 1 for b, k, s in zip(begin, lengths, strides, strict=True)]
        parts.append(
            jax.lax.slice(x, (0, *begin, 0), (len(x), *end, x.shape[-1]), (1, *strides, 1))
        )
    return jnp.concatenate(parts, axis=-1).reshape(*batch, *lengths, -1)
