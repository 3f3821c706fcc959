"""Features of all atoms of many structures, and their derivatives, block by block."""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import jax
import numpy as np

from ritz.full_precision import in_full_precision
from ritz.mlip.arrays import AnyArray, default_device
from ritz.mlip.descriptors.pairs import PairTable, Rows

if TYPE_CHECKING:
    from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
    from ritz.mlip.descriptors.derivatives import LocalDerivatives

_T = TypeVar("_T")


def features_of(
    descriptor: "AbstractDescriptor", table: PairTable, width: int = 0, near: int = 0
) -> np.ndarray:
    """The features of all atoms of a table in float64, of shape (n_atoms, n_features).

    Args:
        descriptor: Computes them.
        table: The pairs.
        width: The least length of rows of neighbours, so that fewer programs are compiled.
        near: The same for those within `near_cutoff`.
    """
    width, near = widths_of(descriptor, table, width, near)
    found = [
        _features(descriptor, near, rows)
        for _, rows in row_blocks(table, width, descriptor.atoms_at_once)
    ]
    return np.concatenate(found)[: table.n_atoms]


def local_derivatives_of(
    descriptor: "AbstractDescriptor", table: PairTable, width: int = 0, near: int = 0
) -> "Iterator[tuple[slice, LocalDerivatives]]":
    """`local_derivatives` of the atoms of a table in float64, block by block; see `features_of`."""
    width, near = widths_of(descriptor, table, width, near)
    for atoms, rows in row_blocks(table, width, descriptor.atoms_at_once):
        found = _local_derivatives(descriptor, near, rows)
        yield atoms, jax.tree.map(lambda part, n=atoms.stop - atoms.start: part[:n], found)


def pair_derivatives_of(
    descriptor: "AbstractDescriptor", table: PairTable, width: int = 0, near: int = 0
) -> Iterator[tuple[slice, AnyArray]]:
    """`pair_derivatives` of the atoms of a table in float64, block by block; see `features_of`."""
    width, near = widths_of(descriptor, table, width, near)
    for atoms, rows in row_blocks(table, width, descriptor.atoms_at_once):
        yield atoms, _pair_derivatives(descriptor, near, rows)[: atoms.stop - atoms.start]


def widths_of(
    descriptor: "AbstractDescriptor", table: PairTable, width: int = 0, near: int = 0
) -> tuple[int, int]:
    """How long rows of neighbours must be, and those within `near_cutoff`."""
    return max(width, table.width()), max(near, table.width(descriptor.near_cutoff))


def row_blocks(table: PairTable, width: int, n_rows: int) -> Iterator[tuple[slice, Rows]]:
    """The rows of all atoms, in blocks of `n_rows` that are filled up with empty ones."""
    for start in range(0, table.n_atoms, n_rows):
        stop = min(start + n_rows, table.n_atoms)
        yield slice(start, stop), table.rows(start, stop, width, n_rows)


def _in_float64(function: Callable[..., _T]) -> Callable[..., _T]:
    compiled = jax.jit(in_full_precision(function), static_argnums=(0, 1))

    @functools.wraps(function)
    def call(descriptor: "AbstractDescriptor", near: int, rows: Rows) -> _T:
        with jax.enable_x64(True), default_device(descriptor.device):
            return jax.tree.map(np.asarray, compiled(descriptor, near, rows))

    return call


@_in_float64
def _features(descriptor: "AbstractDescriptor", near: int, rows: Rows) -> AnyArray:
    features = descriptor.features(*rows, near)
    expected = (len(rows[0]), descriptor.n_features)
    if features.shape != expected:
        name = type(descriptor).__name__
        raise ValueError(
            f"{name}.features gave the shape {features.shape} where (atoms, n_features) is "
            f"{expected}; {name}.n_features must be the number of features that it returns."
        )
    return features


@_in_float64
def _local_derivatives(
    descriptor: "AbstractDescriptor", near: int, rows: Rows
) -> "LocalDerivatives":
    return descriptor.local_derivatives(*rows, near)


@_in_float64
def _pair_derivatives(descriptor: "AbstractDescriptor", near: int, rows: Rows) -> AnyArray:
    return descriptor.pair_derivatives(*rows, near)
