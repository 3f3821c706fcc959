"""Length of the next block."""

import time
from collections.abc import Callable, Sequence

from ritz.driver.blocks.block import GROWTH, MOST_ROWS, SECONDS
from ritz.driver.blocks.replay import Replay
from ritz.driver.callback import AbstractCallback, has_step_hooks, never_live, overrides


class Deferral:
    """Which steps of a run can be part of a block, according to its callbacks.

    Args:
        callbacks: The callbacks.
    """

    def __init__(self, callbacks: Sequence[AbstractCallback]):
        self._traced = [c for c in callbacks if c.has_traced]
        self._deciding = any(c.decides and has_step_hooks(c) for c in callbacks)
        by_default = [c for c in callbacks if not overrides(c, "is_live")]
        self.always_live = any(c.is_live(0) for c in by_default)
        """Whether a callback is live at all steps."""
        asked = [c for c in callbacks if overrides(c, "is_live")]
        self._asked = [c for c in asked if getattr(c.is_live, "__func__", None) is not never_live]
        self._ending = [c for c in callbacks if overrides(c, "ends_block")]

    def steps(
        self, first: int, most: int, traces: Callable[[AbstractCallback], bool], speculate: bool
    ) -> int:
        """Number of steps from `first` on, at most `most`, that can run as one block.

        Args:
            first: The first step.
            most: The largest answer.
            traces: Whether the driver compiles the traced part of a callback.
            speculate: Whether steps may be taken that a callback may later undo.
        """
        if self.always_live or (self._deciding and not speculate):
            return 0
        if not all(traces(callback) for callback in self._traced):
            return 0
        for callback in self._asked:
            for step in range(first, first + most):
                if callback.is_live(step):
                    most = step - first
                    break
        for callback in self._ending:
            for step in range(first, first + most):
                if callback.ends_block(step):
                    most = step - first + 1
                    break
        return most


class BlockLength:
    """Chooses how many steps a block takes, from the wall time of those before it."""

    def __init__(self) -> None:
        self._limit = 1
        self._fitting = MOST_ROWS

    def next(self, most: int) -> int:
        """The length of the next block, at most `most`."""
        return min(most, max(1, min(self._limit, self._fitting)))

    def done(self, replay: Replay) -> None:
        """Note that a block and its replay are over."""
        self._limit = min(GROWTH * replay.length, MOST_ROWS)
        if not replay.compiled:
            seconds = max(time.perf_counter() - replay.began, 1e-9)
            self._fitting = int(SECONDS * replay.length / seconds)

    def cut(self, count: int) -> None:
        """Note that only `count` steps of a block counted."""
        self._limit = max(1, count)
