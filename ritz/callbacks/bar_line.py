"""The line of a progress bar, for any width."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tqdm import tqdm

from ritz.wording import plural

_LEAST_BAR = 10
"""Columns below which no bar is drawn."""
_WIDEST_BAR = 40


class Progress(NamedTuple):
    """State of a progress bar."""

    position: float
    total: float | None
    elapsed: float
    """Seconds."""
    rate: float | None
    """Units in a second; None before the first."""
    unit: str = "step"
    """What is counted; empty if the position is no count, and not shown."""
    parts: Sequence[str] = ()
    """Texts about the newest row, the most important one first."""

    @property
    def fraction(self) -> float:
        """Share of the run that is done, from 0 to 1; 0 if its length is unknown."""
        return min(self.position / self.total, 1.0) if self.total else 0.0

    @property
    def counts(self) -> str:
        """Position and total, such as "120/500"."""
        if not self.unit:
            return f"{self.fraction:.0%}"
        return f"{self.position}" if self.total is None else f"{self.position}/{self.total}"

    @property
    def speed(self) -> str:
        """The rate in units that give a number above 1; empty if it is unknown."""
        if not self.rate or not self.unit:
            return ""
        unit = self.unit
        return (
            f"{self.rate:.3g} {plural(unit)}/s"
            if self.rate >= 1
            else f"{1 / self.rate:.3g} s/{unit}"
        )

    @property
    def remaining(self) -> str:
        """Time to the end, such as "00:12"; "?" if it is unknown."""
        if not self.rate or self.total is None:
            return "?"
        return tqdm.format_interval(max(self.total - self.position, 0) / self.rate)


def terminal_line(progress: Progress, width: int, ascii_only: bool = False) -> str:
    """A line of at most `width` columns, without the least important parts where it is narrow.

    Position and first part come first, then the time left, the speed, the bar, the other parts, and
    the time so far.
    """
    first, *details = progress.parts or [""]
    kept = {"0": first}
    wanted = {"remaining": progress.remaining, "speed": progress.speed}
    wanted["bar"] = " " * _LEAST_BAR if progress.total else ""
    wanted |= {str(place): text for place, text in enumerate(details, start=1)}
    wanted["elapsed"] = tqdm.format_interval(progress.elapsed)
    for name, text in wanted.items():
        longer = kept | {name: text}
        if len(_layout(progress, longer)) > width:
            break
        kept = longer
    if kept.get("bar"):
        spare = width - len(_layout(progress, kept))
        columns = min(_LEAST_BAR + spare, _WIDEST_BAR)
        block = "#" if ascii_only else "█"
        kept["bar"] = (block * int(progress.fraction * columns)).ljust(columns)
    return _layout(progress, kept)[:width]


def _layout(progress: Progress, kept: Mapping[str, str]) -> str:
    """The line with these parts, by their names; parts of the row by their places."""
    remaining = f"<{kept['remaining']}" if "remaining" in kept else ""
    texts = [kept.get(str(place), "") for place in range(len(progress.parts))]
    inner = [kept.get("elapsed", "") + remaining, kept.get("speed", ""), *texts]
    inside = ", ".join(filter(None, inner))
    bar = kept.get("bar")
    head = f"{progress.fraction:4.0%}|{bar}|" if bar else ""
    counts = "" if bar and not progress.unit else progress.counts  # the percentage, once
    return " ".join(filter(None, [head, counts, inside and f"[{inside}]"]))


def log_line(progress: Progress) -> str:
    """The line of a log file: everything, without a bar."""
    counts = progress.counts
    left = "" if progress.position == progress.total else f"{progress.remaining} left"
    told = [f"{counts} {plural(progress.unit)}" if progress.unit else counts]
    told += [tqdm.format_interval(progress.elapsed), left, progress.speed, *progress.parts]
    return ", ".join(filter(None, told))
