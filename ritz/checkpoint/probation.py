"""Which states are good to go on from: those whose loss is finite and plausible."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ritz.driver.finite import is_finite, loss_parts

JUMP = 1e6
"""How many times larger than all losses before it one must be, to tell of parameters that have
exploded rather than of a run that converges badly."""


class Judgement(NamedTuple):
    """What a row says of the state that it begins with."""

    sound: bool
    """Whether its loss is good."""
    went_back: bool = False
    """Whether the run went back in the step, so that the row is of another state than was taken."""


class Probation:
    """Judges states by their losses, which are known one step after they are reached.

    Args:
        telling: Those of `AbstractDriver.doubts` that tell of parameters that have exploded.
    """

    def __init__(self, telling: Collection[str] = ()):
        self._telling = frozenset(telling)
        self._accepted: frozenset[str] | None = None
        self._largest = 0.0

    def passes(self, loss: Any, doubts: Collection[str]) -> bool:
        """Whether a state with this loss is good to go on from.

        Doubts that there were in the first step of the run do not count: they came with it.

        Args:
            loss: The loss at the state's parameters, on the host.
            doubts: Those of the step.
        """
        size = _size(loss)
        if not math.isfinite(size):
            return False
        telling = self._telling.intersection(doubts)
        if self._accepted is None:
            self._accepted, self._largest = telling, size
            return True
        if telling - self._accepted or (self._largest and size > JUMP * self._largest):
            return False
        self._largest = max(self._largest, size)
        return True


def _size(loss: Any) -> float:
    """The magnitude of a loss; infinite if any part is not finite."""
    parts = loss_parts(loss)
    if not is_finite(parts):
        return math.inf
    return float(np.max(np.abs(np.asarray(parts[0])))) if parts else 0.0
