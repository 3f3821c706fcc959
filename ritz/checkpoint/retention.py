"""The choice of checkpoints to keep."""

import math
from collections.abc import Mapping

from ritz.callbacks.monitor import check_mode, check_monitor
from ritz.checkpoint.folder import Entry
from ritz.checks import check_count


class Retention:
    """Keeps the newest checkpoints, and the best.

    Args:
        max_to_keep: How many of the newest; None for all.
        keep_best: `(monitor, mode, k)`: the k with the lowest ("min") or highest ("max") value.

    Raises:
        TypeError: If the monitor is no text.
        ValueError: If a number or the mode is not allowed.
    """

    def __init__(self, max_to_keep: int | None, keep_best: tuple[str, str, int] | None):
        self.max_to_keep = max_to_keep
        if max_to_keep is not None:
            check_count("max_to_keep", max_to_keep, 1)
        self.monitor: str | None = None
        """The quantity by which the best are chosen."""
        if keep_best is not None:
            self.monitor, self._sign, self._best = _checked(keep_best)

    def superfluous(self, entries: Mapping[Entry, float | None]) -> set[Entry]:
        """The checkpoints that need not be kept.

        Args:
            entries: Checkpoint -> monitored value, if it is known.
        """
        # A run that ends at a saved step is saved again, with the way it ended.
        ends = {entry.step for entry in entries if entry.end}
        newest = sorted(e for e in entries if e.end or e.step not in ends)
        keep = set(newest if self.max_to_keep is None else newest[-self.max_to_keep :])
        if self.monitor is not None:
            known = [(self._sign * v, e) for e in newest if (v := entries[e]) is not None]
            finite = sorted((value, entry) for value, entry in known if math.isfinite(value))
            keep |= {entry for _, entry in finite[: self._best]}
        return set(entries) - keep


def _checked(keep_best: tuple[str, str, int]) -> tuple[str, int, int]:
    try:
        monitor, mode, k = keep_best
    except (TypeError, ValueError):
        raise ValueError(
            "keep_best takes (monitor, mode, k), such as ('Energy', 'min', 2), but "
            f"{keep_best!r} was given."
        ) from None
    sign = 1 if check_mode(mode, "mode in keep_best") == "min" else -1
    monitor = check_monitor(monitor, "monitor in keep_best")
    return monitor, sign, check_count("k in keep_best", k, 1)
