"""Measures where the time of a run goes."""

import contextlib
import sys
import time
from collections import defaultdict
from typing import TextIO

from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, Hook, never_live
from ritz.driver.signatures import suggests_names
from ritz.folders.timing import COLUMNS
from ritz.html import never_fails, table


class HookTiming(AbstractCallback):
    """Counts the seconds that each callback spends in each hook.

    The table is written when the run ends, and `table()` returns it. A stream that is full or
    closed does not end the run.

    Args:
        stream: Where the table is written; `sys.stderr` by default.
    """

    callback_order = -(2**31)  # before all others, so that it times every hook

    @suggests_names
    def __init__(self, stream: TextIO | None = None):
        self.stream = stream
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        """(callback, hook) -> seconds in all runs."""
        self.calls: dict[tuple[str, str], int] = defaultdict(int)
        """(callback, hook) -> number of calls."""
        self.total = 0.0
        """Seconds in all runs."""
        self._started = 0.0

    def _wrap(self, callback: AbstractCallback, hook: str, call: Hook) -> Hook:
        if callback is self:
            return call
        key = (callback.label, hook)

        def timed(*args: object) -> object:
            start = time.perf_counter()
            try:
                return call(*args)
            finally:
                self.seconds[key] += time.perf_counter() - start
                self.calls[key] += 1

        return timed

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self._started = time.perf_counter()
        driver.hooks.instrument(self._wrap)

    def _finish(self) -> None:
        self.total += time.perf_counter() - self._started
        stream: TextIO | None = self.stream or sys.stderr
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.write(f"{self.table()}\n")

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self._finish()

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._finish()

    is_live = never_live

    @never_fails
    def _repr_html_(self) -> str:
        rows = [
            (who, hook, calls or "", f"{spent:.4f}", f"{share:.1%}")
            for who, hook, calls, spent, share in self.rows()
        ]
        return table(rows, COLUMNS)

    def rows(self) -> list[tuple[str, str, int, float, float]]:
        """Callback, hook, calls, seconds and share of the run, longest first, then the rest."""
        total = max(self.total, 1e-12)
        rows = [
            (who, hook, self.calls[who, hook], spent, spent / total)
            for (who, hook), spent in sorted(self.seconds.items(), key=lambda item: -item[1])
        ]
        rest = self.total - sum(self.seconds.values())
        return [*rows, ("the rest: steps", "", 0, rest, rest / total)]

    def table(self) -> str:
        """Callback, hook, calls, seconds and share of the run, longest first."""
        rows = self.rows()
        width = max(len(who) for who, *_ in rows)
        lines = [f"{'callback':<{width}}  {'hook':<24} {'calls':>8} {'seconds':>10} {'share':>7}"]
        for who, hook, calls, spent, share in rows:
            lines.append(
                f"{who:<{width}}  {hook:<24} {calls or '':>8} {spent:>10.4f} {share:>7.1%}"
            )
        return "\n".join(lines)
