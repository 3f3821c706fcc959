"""Vision transformers on lattices."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal
from jaxtyping import Array, Float, Inexact, Shaped

from ritz.checks import check_count
from ritz.lattice.models.amplitude import Amplitude
from ritz.lattice.models.cell_module import CellModule
from ritz.lattice.models.cells import Cells


class RelativeAttention(nn.Module):
    """y_i = sum_j a_(j - i) V x_j for each head, and a linear layer: attention by distance alone.

    The weights are parameters, one for each distance, and do not depend on the inputs (factored
    attention: Viteritti, Rende, Becca, PRL 130, 236401 (2023)).
    """

    cells: Cells
    """The cells between which it acts."""
    heads: int
    """Number of heads, which divides the number of features."""
    param_dtype: Any = jnp.float32
    """Type of the parameters."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch n_cells width"]
    ) -> Float[Array, "*batch n_cells width"]:
        """The outputs for the features of all cells."""
        pairs, width = self.cells.pairs(), x.shape[-1]
        init = normal(self.cells.n_cells**-0.5)
        shape = (int(pairs.max()) + 1, self.heads)
        weights = self.param("weights", init, shape, self.param_dtype)
        options = {"param_dtype": self.param_dtype, "dtype": self.param_dtype}
        values = nn.Dense(width, name="values", **options)(x)
        by_head = values.reshape(*values.shape[:-1], self.heads, width // self.heads)
        mixed = jnp.einsum("ijh,...jhd->...ihd", weights[pairs], by_head)
        return nn.Dense(width, name="output", **options)(mixed.reshape(values.shape))


class ViT(CellModule):
    """A vision transformer: attention between patches by their distance, and dense layers.

    Its architecture is that of Viteritti, Rende and Becca (PRL 130, 236401 (2023)) and of Rende et
    al. (arXiv 2310.05715): layer norms before attention and dense layers, residual connections.
    Along periodic directions log psi does not change with translations by patches; with a
    `patch_size` above 1, `Symmetrized` by the translations within a patch restores the others.

    Raises:
        ValueError: If a size is not allowed, or configurations do not fit the lattice.
    """

    depth: int = 2
    """Number of layers."""
    width: int = 16
    """Number of features of a patch."""
    heads: int | None = None
    """Number of heads, which divides `width`; by default the number for which each has four
    features, or two or one."""
    patch_size: int | Sequence[int] = 1
    """Size of the patches in cells, a number or one for each direction."""
    complex_output: bool = False
    """Whether log psi is complex; otherwise psi is positive."""
    param_dtype: Any = jnp.float32
    """Type of the parameters, which are real."""

    @nn.compact
    def __call__(self, x: Shaped[Array, "*batch n_values"]) -> Inexact[Array, "*batch"]:
        """Log psi of each configuration."""
        check_count("depth", self.depth, 0)
        heads = self._heads()
        cells = self.cells
        options = {"param_dtype": self.param_dtype, "dtype": self.param_dtype}
        patches, y = cells.patches(cells.by_cell(x), self.patch_size)
        y = nn.Dense(self.width, **options)(y.astype(self.param_dtype))
        for _ in range(self.depth):
            z = nn.LayerNorm(**options)(y)
            y = y + RelativeAttention(patches, heads, self.param_dtype)(z)
            z = nn.LayerNorm(**options)(y)
            z = nn.gelu(nn.Dense(2 * self.width, **options)(z))
            y = y + nn.Dense(self.width, **options)(z)
        y = nn.gelu(nn.LayerNorm(**options)(y))
        return Amplitude(self.complex_output, self.param_dtype)(y)

    def _heads(self) -> int:
        width = check_count("width", self.width, 1)
        if self.heads is None:
            return next(width // size for size in (4, 2, 1) if width % size == 0)
        if width % check_count("heads", self.heads, 1):
            raise ValueError(f"heads must divide width={width}, but {self.heads!r} was given.")
        return self.heads
