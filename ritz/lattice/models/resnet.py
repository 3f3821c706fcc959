"""Residual convolutional networks."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import lecun_normal, variance_scaling
from jaxtyping import Array, Inexact, Shaped

from ritz.checks import check_count
from ritz.lattice.models.amplitude import Amplitude
from ritz.lattice.models.cell_module import CellModule
from ritz.lattice.models.lattice_conv import LatticeConv


class ResNet(CellModule):
    """A residual convolutional network: y -> y + conv(gelu(conv(gelu(y)))), `depth` times.

    Residual networks with minSR hold the records of the J1-J2 model on the square lattice (Chen and
    Heyl, Nature Physics 20, 1476 (2024), arXiv 2302.01941). Along periodic directions log psi does
    not change with translations. It is computed in single precision by default; energies are not.

    Raises:
        ValueError: If a size is not allowed, or configurations do not fit the lattice.
    """

    depth: int = 2
    """Number of residual blocks, of two convolutions each."""
    width: int = 8
    """Number of channels."""
    kernel_size: int | Sequence[int] = 4
    """Size of the kernels in cells, a number or one for each direction; larger ones than the
    lattice are cut to its size."""
    complex_output: bool = False
    """Whether log psi is complex; otherwise psi is positive, as ground states are in a basis
    without a sign problem."""
    param_dtype: Any = jnp.float32
    """Type of the parameters, which are real."""

    @nn.compact
    def __call__(self, x: Shaped[Array, "*batch n_values"]) -> Inexact[Array, "*batch"]:
        """Log psi of each configuration."""
        check_count("depth", self.depth, 0)
        check_count("width", self.width, 1)
        cells = self.cells
        size = cells.kernel_size(self.kernel_size)

        def conv(y: Array, init: Any) -> Array:
            return LatticeConv(
                cells, self.width, size, param_dtype=self.param_dtype, kernel_init=init
            )(y)

        y = conv(cells.by_cell(x), lecun_normal())
        # Such that features keep their size, whatever the depth.
        last = variance_scaling(1 / max(self.depth, 1), "fan_in", "truncated_normal")
        first = variance_scaling(2, "fan_in", "truncated_normal")
        for _ in range(self.depth):
            z = nn.gelu(conv(nn.gelu(y), first))
            y = y + conv(z, last)
        y = nn.gelu(y / math.sqrt(2))
        return Amplitude(self.complex_output, self.param_dtype)(y)
