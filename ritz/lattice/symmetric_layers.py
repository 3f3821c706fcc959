"""NetKet's symmetric layers as matrix products, for update rules that see layers."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import netket.nn.symmetric_linear as layers
import numpy as np
from jaxtyping import Array, Int
from netket.utils import HashableArray

from ritz.updates.linear_layers import MatrixProduct, register_layer


def _symmetric(module: Any, args: Sequence[Any], kernel: Array, outputs: Array) -> MatrixProduct:
    """NetKet's DenseSymm: y_fg = sum_cs x[c, s] W[f, c, g^-1 s], uses are group elements g."""
    of_sites = getattr(module, "symmetries", None)
    table = np.asarray(module.space_group if of_sites is None else of_sites)
    return _of_table(module, args[0], outputs, np.argsort(table, axis=1))


def _equivariant(module: Any, args: Sequence[Any], kernel: Array, outputs: Array) -> MatrixProduct:
    """NetKet's DenseEquivariant: y_fh = sum_cg x[c, g] W[f, c, g^-1 h], uses are elements h."""
    return _of_table(module, args[0], outputs, np.argsort(np.asarray(module.product_table).T, 1))


def _of_irreps(
    module: Any, args: Sequence[Any], kernel: Array, outputs: Array
) -> MatrixProduct | None:
    """NetKet's DenseEquivariant by irreducible representations: the same product."""
    places = _quotients(module.irreps)
    return None if places is None else _of_table(module, args[0], outputs, places)


@functools.lru_cache(maxsize=16)
def _quotients(irreps: tuple[HashableArray, ...]) -> Int[np.ndarray, "n n"] | None:
    """The number of the element h k^-1 of a group for elements h (rows) and k.

    A random linear function of all representation matrices tells elements apart, as the matrices
    of different elements are linearly independent.

    Args:
        irreps: Unitary matrices of all irreducible representations, of shape (n, d, d) each.

    Returns:
        The table; None if the matrices are not those of a group.
    """
    random = np.random.default_rng(0)
    matrices = [np.asarray(irrep.wrapped) for irrep in irreps]
    n = len(matrices[0])
    values, quotients = np.zeros(n), np.zeros((n, n))
    for matrix in matrices:
        weights = random.standard_normal((2, *matrix.shape[1:]))
        weight = weights[0] + 1j * weights[1]
        values += np.einsum("gab,ab->g", matrix, weight).real
        turned = np.einsum("kbc,ab->kac", matrix.conj(), weight)  # rho(k)^-1 = rho(k)^dagger
        quotients += np.einsum("hac,kac->hk", matrix, turned).real
    order = np.argsort(values)
    upper = np.searchsorted(values[order], quotients).clip(1, n - 1)
    below, above = order[upper - 1], order[upper]
    is_above = np.abs(values[above] - quotients) < np.abs(values[below] - quotients)
    places = np.where(is_above, above, below)
    is_table = np.array_equal(np.sort(places, axis=1), np.tile(np.arange(n), (n, 1)))
    return places if is_table and np.allclose(values[places], quotients) else None


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
    """Register the layers of symmetric networks, in all of their modes."""
    for kind in (layers.DenseSymmMatrix, layers.DenseSymmFFT):
        register_layer(kind, _symmetric)
    for kind in (layers.DenseEquivariantMatrix, layers.DenseEquivariantFFT):
        register_layer(kind, _equivariant)
    register_layer(layers.DenseEquivariantIrrep, _of_irreps)
