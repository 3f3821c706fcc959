"""NetKet's symmetric layers as matrix products, for update rules that see layers."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import netket.nn.symmetric_linear as layers
import numpy as np
from jaxtyping import Array

from ritz.updates.linear_layers import MatrixProduct, register_layer


def _symmetric(module: Any, args: Sequence[Any], kernel: Array, outputs: Array) -> MatrixProduct:
    """NetKet's DenseSymm: y_fg = sum_cs x[c, s] W[f, c, g^-1 s], uses are group elements g."""
    of_sites = getattr(module, "symmetries", None)
    table = np.asarray(module.space_group if of_sites is None else of_sites)
    return _of_table(module, args[0], outputs, np.argsort(table, axis=1))


def _equivariant(module: Any, args: Sequence[Any], kernel: Array, outputs: Array) -> MatrixProduct:
    """NetKet's DenseEquivariant: y_fh = sum_cg x[c, g] W[f, c, g^-1 h], uses are elements h."""
    return _of_table(module, args[0], outputs, np.argsort(np.asarray(module.product_table).T, 1))


def _of_table(module: Any, inputs: Array, outputs: Array, places: np.ndarray) -> MatrixProduct:
    """Uses u whose input at a place k of the kernel is x[..., places[u, k]]."""
    if module.mask is not None:
        places = places[:, np.nonzero(module.mask.wrapped)[0]]
    moved = jnp.moveaxis(inputs[..., places], -3, -2)
    n = outputs.ndim
    return MatrixProduct(
        moved.reshape(*moved.shape[:-2], -1), (1, 2, 0), (*range(n - 2), n - 1, n - 2)
    )


def register() -> None:
    """Register the layers that are given by permutations of sites or a table of products."""
    for kind in (layers.DenseSymmMatrix, layers.DenseSymmFFT):
        register_layer(kind, _symmetric)
    for kind in (layers.DenseEquivariantMatrix, layers.DenseEquivariantFFT):
        register_layer(kind, _equivariant)
