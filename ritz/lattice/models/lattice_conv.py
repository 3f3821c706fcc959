"""Convolutions over the cells of a lattice."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn.initializers import lecun_normal, zeros
from jaxtyping import Array, Float, Inexact, Int

from ritz.lattice.models.cells import Cells
from ritz.updates.linear_layers import MatrixProduct, register_layer

LARGEST_SPREAD = 8
"""Cells for each place of the kernel up to which a product with the whole matrix is faster.

On one core of a CPU, for 8 channels in single precision, it takes 0.2 of the time of XLA's
convolution with one cell for each place, 0.35 with 4; with 11 it takes four times as long. Its
derivatives are five to eight times faster, and two times slower with 11 (16 channels).
"""


class LatticeConv(nn.Module):
    """A convolution over cells: y_c = sum_d x_{c + d} W_d + b, the same for each cell.

    On small lattices it multiplies by a matrix over all cells, which CPUs and GPUs do much faster
    than convolutions of few channels; on large ones it calls XLA's convolution. Update rules see
    it as a layer that is used at each cell.
    """

    cells: Cells
    """The cells."""
    features: int
    """Number of output channels."""
    kernel_size: tuple[int, ...]
    """Size of the kernel along each direction, see `Cells.kernel_size`."""
    use_bias: bool = True
    """Whether b is there."""
    param_dtype: Any = jnp.float32
    """Type of the parameters, in which it computes."""
    kernel_init: Any = lecun_normal()
    """Initialises the kernel, shape (*kernel_size, n_channels, features)."""
    bias_init: Any = zeros
    """Initialises the bias."""

    @nn.compact
    def __call__(
        self, x: Inexact[Array, "*batch n_cells n_channels"]
    ) -> Inexact[Array, "*batch n_cells features"]:
        """The outputs for the inputs of all cells."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        x = x.astype(kernel.dtype)
        batch, n_cells = x.shape[:-2], self.cells.n_cells
        flat = x.reshape(-1, *x.shape[-2:])
        if n_cells <= LARGEST_SPREAD * math.prod(self.kernel_size):
            y = self._by_matrix(flat, kernel)
        else:
            y = self._by_convolution(flat, kernel)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
            y = y + _at_all_cells(bias, n_cells)
        return y.reshape(*batch, n_cells, self.features)

    def _by_matrix(self, x: Array, kernel: Array) -> Array:
        cells, (n_in, n_out) = self.cells, kernel.shape[-2:]
        taps = kernel.reshape(-1, n_in, n_out)
        taps = jnp.concatenate([taps, jnp.zeros_like(taps[:1])])
        matrix = taps[_places(cells, self.kernel_size)]  # input cell, output cell, in, out
        matrix = matrix.swapaxes(1, 2).reshape(cells.n_cells * n_in, cells.n_cells * n_out)
        return x.reshape(len(x), -1) @ matrix

    def _by_convolution(self, x: Array, kernel: Array) -> Array:
        cells = self.cells
        grid = x.reshape(len(x), *cells.extent, x.shape[-1])
        for axis, (size, wraps) in enumerate(
            zip(self.kernel_size, cells.periodic, strict=True), start=1
        ):
            edges = [(0, 0)] * grid.ndim
            edges[axis] = ((size - 1) // 2, size // 2)
            grid = jnp.pad(grid, edges, mode="wrap" if wraps else "constant")
        letters = "XYZUVW"[: len(cells.extent)]
        form = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        y = jax.lax.conv_general_dilated(
            grid, kernel, (1,) * len(letters), "VALID", dimension_numbers=form
        )
        return y.reshape(len(x), -1)

    def patches(
        self, x: Float[Array, "*batch n_cells n_channels"]
    ) -> Float[Array, "*batch n_cells n_inputs"]:
        """What the kernel is multiplied by at each cell, in the order of its axes."""
        reach = self.cells.reach(self.kernel_size)
        padded = jnp.concatenate([x, jnp.zeros_like(x[..., :1, :])], axis=-2)
        found = padded[..., reach, :]
        return found.reshape(*found.shape[:-2], -1)


def _at_all_cells(bias: Array, n_cells: int) -> Array:
    """The bias of the outputs of all cells, shape (n_cells features,).

    A product, as XLA does not merge it into the loop over what follows: there its CPU backend would
    look up the bias by the remainder of an index, without vector instructions, so that a residual
    network of 36 sites takes 1.6 times as long.
    """
    repeat = np.tile(np.eye(len(bias)), n_cells)
    return jnp.matmul(bias, jnp.asarray(repeat, bias.dtype), precision="highest")


def _places(cells: Cells, kernel_size: tuple[int, ...]) -> Int[np.ndarray, "n_cells n_cells"]:
    """The place of the kernel by which an input cell (row) acts on an output cell.

    The number of places where it does not act.
    """
    reach = cells.reach(kernel_size)
    found = np.full((cells.n_cells + 1, cells.n_cells), reach.shape[1])
    for place in range(reach.shape[1]):
        found[reach[:, place], np.arange(cells.n_cells)] = place
    return found[:-1]


def _as_product(
    module: LatticeConv, args: Sequence[Any], kernel: Array, outputs: Array
) -> MatrixProduct:
    """A convolution over cells by its patches."""
    inputs = module.patches(args[0].astype(kernel.dtype))
    return MatrixProduct(inputs, tuple(range(kernel.ndim)), tuple(range(outputs.ndim)))


register_layer(LatticeConv, _as_product, summed=True)
