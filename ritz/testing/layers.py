"""Conformance check of layers that update rules see."""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ritz.testing.requirement import require
from ritz.updates.linear_layers import as_product

if TYPE_CHECKING:
    from flax import linen as nn


def check_layer(module: "nn.Module", *inputs: Array) -> None:
    """Check a class given to `register_layer`: its output is the product that was told, plus bias.

    Args:
        module: A layer.
        *inputs: What it is called with.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    drawn: Any = module.init(jax.random.key(0), *inputs)["params"]
    names = set(drawn)
    require(
        "kernel" in names and names <= {"kernel", "bias"},
        f"{module} must have the parameters kernel and, perhaps, bias, but it has {sorted(names)}",
    )
    keys = dict(zip(sorted(names), jax.random.split(jax.random.key(1)), strict=False))
    params = {k: jax.random.normal(keys[k], p.shape, p.dtype) for k, p in drawn.items()}
    kernel: Any = params["kernel"]
    outputs = module.apply({"params": params}, *inputs)
    if not isinstance(outputs, jax.Array):
        raise AssertionError(f"{module} must return one array")
    eps = float(jnp.finfo(outputs.dtype).eps)
    product = as_product(module, inputs, kernel, outputs)
    if product is None:
        raise AssertionError(f"{module} is no product; is {type(module).__name__} registered?")
    n_inputs = product.inputs.shape[-1]
    require(
        sorted(product.kernel_axes) == list(range(kernel.ndim)),
        f"kernel_axes of {module} are {product.kernel_axes}, but the kernel has {kernel.ndim} axes",
    )
    require(
        sorted(product.output_axes) == list(range(outputs.ndim)),
        f"output_axes of {module} are {product.output_axes}, but it has {outputs.ndim} axes",
    )
    require(
        kernel.size % n_inputs == 0, f"{module} has {kernel.size} numbers for {n_inputs} inputs"
    )
    matrix = jnp.transpose(kernel, product.kernel_axes).reshape(n_inputs, -1)
    found = product.inputs.reshape(-1, n_inputs) @ matrix
    if "bias" in params:
        require(params["bias"].size == matrix.shape[1], f"{module} needs a bias for each output")
        found = found + params["bias"].reshape(1, -1)
    wanted = jnp.transpose(outputs, product.output_axes).reshape(-1, matrix.shape[1])
    require(
        found.shape == wanted.shape,
        f"{module} is used {len(found)} times, but it has {math.prod(outputs.shape)} outputs",
    )
    tolerance = 100 * eps * max(float(jnp.abs(wanted).max()), 1.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance, err_msg=f"{module}")
