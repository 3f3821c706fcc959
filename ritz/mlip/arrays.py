"""Precisions and devices by name, arrays on the host and on the device, and a cache of them."""

import collections
import contextlib
import re
import threading
from collections.abc import Hashable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from numpy.typing import DTypeLike

from ritz.types import State

PRECISIONS = ("float32", "float64")
"""Precisions of features and networks."""


def check_dtype(name: str, value: DTypeLike) -> str:
    """The name of a precision, from a name or a type of NumPy or JAX.

    Raises:
        ValueError: If it is another type.
    """
    try:
        found = np.dtype(value).name
    except TypeError:
        found = str(value)
    if found not in PRECISIONS:
        raise ValueError(f"{name} must be 'float32' or 'float64', but {value!r} was given.")
    return found


def check_device(name: str, value: object) -> str | None:
    """The name of a device, which need not be there before it is used; or None.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is no name such as "cpu", "gpu" or "cuda:1".
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name such as 'cuda:1', but {value!r} was given.")
    if not re.fullmatch(r"[a-zA-Z]\w*(:\d+)?", value):
        raise ValueError(f"{name} must be 'cpu', 'gpu', 'cuda:1' or the like, not {value!r}.")
    return value


def find_device(device: str | None) -> Any:
    """A device of JAX from "cpu", "gpu" or "cuda", with a number as in "cuda:1"; None for None.

    Raises:
        ValueError: If there is no such device; those that are there are listed.
    """
    if device is None:
        return None
    kind, _, number = str(device).partition(":")
    try:
        return jax.local_devices(backend=kind)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        there = ", ".join(sorted(f"{d.platform}:{d.id}" for d in jax.local_devices()))
        raise ValueError(f"there is no device {device!r}; this machine has {there}.") from error


def default_device(device: str | None) -> contextlib.AbstractContextManager[object]:
    """Within it, new arrays go to a device; see `find_device`."""
    found = find_device(device)
    return contextlib.nullcontext() if found is None else jax.default_device(found)


AnyArray = jax.Array | np.ndarray
"""An array of JAX, or one of NumPy where one of JAX will be."""

Tree = TypeVar("Tree", bound=PyTree)
"""A tree of arrays."""


def unchanged(tree: Tree) -> Tree:
    """The tree as it is."""
    return tree


_ALIGNED = 64
"""Bytes; JAX uses arrays that begin at a multiple of this on CPUs as they are, without a copy."""


class RowBuffer:
    """Arrays that are filled with rows, one part after another.

    Args:
        length: How many rows there are.
    """

    def __init__(self, length: int):
        self.rows: PyTree = None
        """The arrays; None before there are any rows."""
        self._length = length
        self._end = 0

    def add(self, part: PyTree) -> None:
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


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.zeros(size + _ALIGNED, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNED
    return buffer[begin : begin + size].view(dtype).reshape(shape)


def on_device(tree: Tree, real: np.dtype) -> Tree:
    """A tree of NumPy's arrays on the device, numbers in the precision `real`.

    The arrays must not be changed afterwards.
    """

    def put(leaf: AnyArray) -> jax.Array:
        array = np.asarray(leaf)
        return jnp.asarray(array, real if array.dtype.kind == "f" else array.dtype)

    return jax.tree.map(put, tree)


class LRUCache:
    """Cache of the entries that were used last; safe between threads.

    Args:
        size: How many there are at the most; None for any number.
    """

    def __init__(self, size: int | None):
        self.size = size
        self._entries: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> State:
        """Neither entries nor locks are sent to other processes."""
        return {"size": self.size}

    def __setstate__(self, state: State) -> None:
        """An empty cache of the same size."""
        LRUCache.__init__(self, state["size"])

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether a further entry would push out another."""
        return self.size is not None and len(self) >= self.size

    def get(self, key: Hashable) -> Any:
        """The entry of a key, which is now the one used last; None if there is none."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, entry: Any) -> None:
        """Store an entry; if the cache is full, the one that was used longest ago goes."""
        if self.size == 0:
            return
        with self._lock:
            self._entries[key] = entry
            while self.size is not None and len(self._entries) > self.size:
                self._entries.popitem(last=False)
