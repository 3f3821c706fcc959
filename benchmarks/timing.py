"""Times several contenders in turns, so that all see the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds of one contender."""

    first: float
    """The first call, with compilation."""
    times: tuple[float, ...]
    """The later ones."""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.times)

    @property
    def spread(self) -> tuple[float, float, float]:
        """Median, shortest and longest."""
        return self.median, min(self.times), max(self.times)


def interleaved(contenders: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, Timing]:
    """Call each contender once, then `rounds` times in turns."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            spent[name].append(time.perf_counter() - start)
    return {name: Timing(times[0], tuple(times[1:])) for name, times in spent.items()}
