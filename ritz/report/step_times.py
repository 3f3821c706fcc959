"""How long the steps of a run took, from the clock in its log."""

from typing import NamedTuple

import numpy as np

from ritz.folders.columns import UNREADABLE, LogColumns

_MOST_PARTS = 200


class StepTimes(NamedTuple):
    """Seconds a step, over a run."""

    median: float
    slowest: float
    """Of the slowest part of the run, in seconds a step."""
    total: float
    """Seconds of work from the first row to the last one, without pauses between resumed runs."""
    steps: np.ndarray
    """Where each part ends, shape (n_parts,)."""
    seconds: np.ndarray
    """Seconds a step in each part, shape (n_parts,)."""


def step_times(log: LogColumns) -> StepTimes | None:
    """Seconds a step, in up to 200 parts of a run; None without a clock that can be read.

    Steps of a compiled block share its time.
    """
    if "wallclock" not in log.quantities:
        return None
    try:
        steps, clock = log.column("wallclock", log.main_field("wallclock") or "value")
    except UNREADABLE:
        return None
    known = np.isfinite(clock)
    steps, clock = steps[known], clock[known]
    if len(steps) < 2:
        return None
    places = np.unique(np.linspace(0, len(steps) - 1, _MOST_PARTS + 1).astype(int))
    lengths = np.maximum(np.diff(steps[places]), 1)
    seconds = np.diff(clock[places]) / lengths
    median = float(np.median(np.repeat(seconds, lengths.astype(int))))
    total = float(clock[-1] - clock[0])
    return StepTimes(median, float(np.max(seconds)), total, steps[places[1:]], seconds)
