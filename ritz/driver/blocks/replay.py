"""The replay of a block: the hooks of steps that one program has taken."""

import itertools
import time
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.driver.blocks.block import Block
from ritz.driver.divergence import Divergence
from ritz.driver.finite import first_invalid
from ritz.driver.kernel import TAKEN_BACK
from ritz.types import Loss, Row


def _each(stacked: PyTree, first: int, last: int) -> Iterator[PyTree]:
    """Rows `first` to `last` of stacked ones on the host, each as `to_host` would return it.

    Rows are made when they are asked for: thousands of objects kept would wake the garbage
    collector, which then walks through everything that was ever imported.
    """
    leaves, structure = jax.tree.flatten(stacked)
    parts = [leaf[first:last] for leaf in leaves]
    columns = [part.tolist() if part.ndim == 1 else part for part in parts]
    values = zip(*columns, strict=True) if columns else itertools.repeat(())
    return map(structure.unflatten, values)


class Replay:
    """A block that was computed, while its hooks are called.

    Args:
        first: Its first step.
        arguments: Arguments of the program without the length.
        block: What the program returned, on the device.
        began: When it was dispatched, as `time.perf_counter` counts.
    """

    def __init__(self, first: int, arguments: tuple[PyTree, ...], block: Block, began: float):
        rows, length, finite = jax.device_get((block.rows, block.length, block.finite))
        self.seconds = time.perf_counter() - began
        self.began = began
        self.compiled = False
        """Whether `seconds` include a compilation."""
        self.length = int(length)
        self.steps = range(first, first + self.length)
        self.arguments: tuple[PyTree, ...] | None = arguments
        """Arguments for running fewer steps of the block; None if the carry was donated."""
        self.block = block
        self.count = 0
        """Number of its steps that were accepted and counted."""
        self.row_filled = False
        """Whether the present step's row is filled."""
        self.pushed = False
        """Whether the driver's state is that after the present step."""
        doubts = rows[1].get("doubts", {})
        self.first_invalid = first_invalid(rows[0], self.length, doubts.get(TAKEN_BACK))
        """The first step, counted from 0, whose loss is not valid; `length` if all are."""
        self.finite = bool(finite) and self.first_invalid == self.length
        """Whether losses and parameters are finite."""
        self.lost: tuple[int, Divergence] | None = None
        """At which of its steps the run diverges, and how."""
        self.doubts: dict[str, np.ndarray] = doubts
        """The doubts about each step."""
        self._stacked = rows
        self.rows = _each(rows, 0, self.length)
        """Loss and metrics of each step; the next one is asked for once a step."""

    def skip_to(self, count: int) -> None:
        """Leave out the steps before the one with this number, for which nobody has a hook."""
        self.count = count
        self.rows = _each(self._stacked, count, self.length)

    @property
    def device_row(self) -> tuple[Loss, Row]:
        """Loss and metrics of the present step on the device."""
        return jax.tree.map(lambda buffer: buffer[self.count], self.block.rows)

    @property
    def doubted(self) -> bool:
        """Whether there is a doubt about any of its steps."""
        return any(bool(np.any(holds[: self.length])) for holds in self.doubts.values())

    @property
    def clock(self) -> float:
        """When the loss of the present step was known, as `time.perf_counter` counts."""
        return self.began + self.seconds * (self.count + 1) / self.length
