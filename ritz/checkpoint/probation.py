"""Judges which states a run may be resumed from: those with a finite, plausible loss."""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from ritz.driver import AbstractDriver
from ritz.driver.blocks.block import MOST_ROWS
from ritz.driver.finite import is_finite, loss_parts
from ritz.driver.processes.consensus import agree
from ritz.types import Loss

JUMP = 1e6
"""Ratio of a loss to all before it above which parameters have exploded, and the run does not
just converge badly."""


class Judgement(NamedTuple):
    """Judgement about the state at the beginning of a step, from its row."""

    sound: bool
    """Whether its loss is good."""
    went_back: bool = False
    """Whether the run went back in the step, so that the row belongs to another state."""


class Probation:
    """Judges states by their losses, which are known one step after they are reached.

    Args:
        telling: Names of `AbstractDriver.doubts` that mean exploded parameters.
    """

    def __init__(self, telling: Collection[str] = ()):
        self._telling = frozenset(telling)
        self._accepted: frozenset[str] | None = None
        self._largest = 0.0

    def passes(self, loss: Loss, doubts: Collection[str]) -> bool:
        """Whether a state with this loss is good to go on from.

        Doubts that the first step of the run already had do not count.

        Args:
            loss: The loss at the state's parameters, on the host.
            doubts: Doubts about the step.
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


class Judgements:
    """Judgements about the states of a run, from its last rows.

    Args:
        telling: See `Probation`.
    """

    def __init__(self, telling: Collection[str] = ()):
        self._probation = Probation(telling)
        self._by_step: dict[int, Judgement] = {}

    def judge(self, step: int, driver: AbstractDriver, went_back: bool) -> None:
        """Judge the state at the beginning of a step, now that its loss is known."""
        sound = not driver.diverges or self._probation.passes(driver.loss, driver.doubts)
        self._by_step[step] = Judgement(sound, went_back)
        if len(self._by_step) > 2 * MOST_ROWS:
            del self._by_step[next(iter(self._by_step))]

    def __contains__(self, step: object) -> bool:
        return step in self._by_step

    def __getitem__(self, step: int) -> Judgement:
        return self._by_step[step]

    def sound(self, step: int, unknown: bool) -> bool:
        """Whether the state at `step` is good; `unknown` if it was not judged."""
        judgement = self._by_step.get(step)
        return unknown if judgement is None else judgement.sound

    def forget_after(self, step: int) -> None:
        """Forget the rows after `step`, which were undone."""
        self._by_step = {s: judged for s, judged in self._by_step.items() if s <= step}

    def is_good(self, driver: AbstractDriver) -> bool:
        """Whether the present state is good to go on from, at the end of a run."""
        if not all_finite(driver):
            return False
        step = driver.step_count
        if not driver.diverges:
            return True
        if step in self._by_step:  # the run stopped before the update
            return self._by_step[step].sound
        probed = driver.probe()
        if probed is None:
            return self.sound(step - 1, unknown=True)
        loss, doubts = probed
        if not is_finite(loss_parts(loss)) and driver.on_divergence != "ignore":
            driver.refuse_last(loss)
            return False
        return self._probation.passes(loss, doubts)


def all_finite(driver: AbstractDriver) -> bool:
    """Whether loss and parameters are finite, of which processes may have parts; all must ask."""
    # Of a run that has diverged the loss is that of the state that was given up.
    other = driver.failed_state is not None or not driver.diverges
    here = is_finite(driver.parameters) and (other or is_finite(loss_parts(driver.loss)))
    return not agree(not here)


def _size(loss: Loss) -> float:
    """The magnitude of a loss; infinite if any part is not finite."""
    parts = loss_parts(loss)
    if not is_finite(parts):
        return math.inf
    return float(np.max(np.abs(np.asarray(parts[0])))) if parts else 0.0
