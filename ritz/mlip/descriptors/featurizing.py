"""Features of all atoms of many structures, and their derivatives, block by block."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ritz.mlip.arguments import default_device
from ritz.mlip.descriptors.pairs import PairTable, Rows

ROWS = 1024
"""How many atoms are featurised at once; bounds the memory that it takes."""


def features_of(descriptor: Any, table: PairTable, width: int = 0, near: int = 0) -> np.ndarray:
    """The features of all atoms of a table in float64, of shape (n_atoms, n_features).

    Args:
        descriptor: A `ChebyshevDescriptor`.
        table: The pairs.
        width: The least length of rows of neighbours, so that fewer programs are compiled.
        near: The same for those within the angular cutoff.
    """
    width, near = widths_of(descriptor, table, width, near)
    found = [_features(descriptor, near, rows) for _, rows in row_blocks(table, width)]
    return np.concatenate(found)[: table.n_atoms]


def local_derivatives_of(
    descriptor: Any, table: PairTable, width: int = 0, near: int = 0
) -> Iterator[tuple[slice, Any]]:
    """`local_derivatives` of the atoms of a table in float64, block by block; see `features_of`."""
    width, near = widths_of(descriptor, table, width, near)
    for atoms, rows in row_blocks(table, width):
        found = _local_derivatives(descriptor, near, rows)
        yield atoms, type(found)(*(part[: atoms.stop - atoms.start] for part in found))


def widths_of(descriptor: Any, table: PairTable, width: int = 0, near: int = 0) -> tuple[int, int]:
    """How long rows of neighbours must be, and those of neighbours within the angular cutoff."""
    return max(width, table.width()), max(near, table.width(descriptor.ang_cutoff))


def row_blocks(table: PairTable, width: int) -> Iterator[tuple[slice, Rows]]:
    """The rows of all atoms, in blocks of `ROWS` that are filled up with empty ones."""
    for start in range(0, table.n_atoms, ROWS):
        stop = min(start + ROWS, table.n_atoms)
        yield slice(start, stop), table.rows(start, stop, width, ROWS)


def _in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = jax.jit(function, static_argnums=(0, 1))

    @functools.wraps(function)
    def call(descriptor: Any, near: int, rows: Rows) -> Any:
        with jax.enable_x64(True), default_device(descriptor.device):
            return jax.tree.map(np.asarray, compiled(descriptor, near, rows))

    return call


@_in_float64
def _features(descriptor: Any, near: int, rows: Rows) -> Any:
    vectors, pairs, kinds = rows
    weights = descriptor.weights_of(kinds)
    closest = vectors[:, :near], pairs[:, :near], weights[:, :near]
    return descriptor.ordered(
        descriptor.radial(vectors, pairs, weights), descriptor.angular(*closest)
    )


@_in_float64
def _local_derivatives(descriptor: Any, near: int, rows: Rows) -> Any:
    vectors, pairs, kinds = rows
    weights = descriptor.weights_of(kinds)
    return descriptor.local_derivatives(vectors, pairs, weights, near)
