"""Large arrays on the host, and their way to the device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

AnyArray = jax.Array | np.ndarray
"""An array of JAX, or one of NumPy where one of JAX will be."""

_ALIGNED = 64
"""Bytes; JAX uses arrays that begin at a multiple of this on CPUs as they are, without a copy."""


class RowBuffer:
    """Arrays that are filled with rows, one part after another.

    Args:
        length: How many rows there are.
    """

    def __init__(self, length: int):
        self.rows: Any = None
        """The arrays; None before there are any rows."""
        self._length = length
        self._end = 0

    def add(self, part: Any) -> None:
        """Put in the next rows."""
        if self.rows is None:
            self.rows = jax.tree.map(
                lambda rows: _zeros((self._length, *rows.shape[1:]), rows.dtype), part
            )
        leaves = jax.tree.leaves(part)
        end = self._end + (len(leaves[0]) if leaves else 0)
        for whole, rows in zip(jax.tree.leaves(self.rows), leaves, strict=True):
            whole[self._end : end] = rows
        self._end = end


def _zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.zeros(size + _ALIGNED, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNED
    return buffer[begin : begin + size].view(dtype).reshape(shape)


def on_device(tree: Any, real: Any) -> Any:
    """A tree of NumPy's arrays on the device, numbers in the precision `real`.

    The arrays must not be changed afterwards.
    """

    def put(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return jnp.asarray(array, real if array.dtype.kind == "f" else array.dtype)

    return jax.tree.map(put, tree)
