"""Loggers that take in the rows of a block together."""

import abc
from collections.abc import Sequence

from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import Hook
from ritz.loggers.base import AbstractLogger
from ritz.loggers.plain_rows import Gathered, PlainRows
from ritz.types import Row


class GatheringLogger(AbstractLogger, abc.ABC):
    """Gathers rows of plain floats, and appends them together when read or at a block's end."""

    every_process = True
    flat_names = False

    def __init__(self) -> None:
        self._plain = PlainRows()
        self._shared: SharedRows | None = None
        self._handed: list[Gathered] = []

    def _gather(self, step: int, stats: Row) -> bool:
        """Gather the row if possible; return whether it was."""
        return self.hold and self._in_order and self._plain.add(step, stats)

    @property
    def _in_order(self) -> bool:
        """Whether no earlier rows are still gathered elsewhere."""
        return self._shared is None or not (self._handed or self._shared.wait)

    def _gathered(self) -> list[Gathered]:
        """Take the gathered rows, in order; the caller must write them."""
        if self._shared is not None:
            self._shared.hand_out()
        own = self._plain.take()
        handed, self._handed = self._handed, []
        return handed if own is None else [own, *handed]

    @abc.abstractmethod
    def _take_in(self) -> None:
        """Append the rows that were gathered."""

    def share(self, rows: "SharedRows") -> None:
        """Let the rows of blocks be gathered elsewhere until the run ends."""
        self._shared = rows

    def joint(self, call: Hook) -> "type[SharedRows] | None":
        """`SharedRows`, unless a subclass has its own hook or `write`."""
        own = getattr(call, "__func__", None) is AbstractLogger.before_parameter_update
        return SharedRows if own and self._gathers else None

    @property
    @abc.abstractmethod
    def _gathers(self) -> bool:
        """Whether `write` is the one that gathers rows."""

    @override
    def close(self) -> None:
        super().close()
        self._take_in()  # rows that were written outside of `open`
        self._shared = None
        self._plain.forget()


class SharedRows:
    """`before_parameter_update` of several loggers that follow each other, within a block.

    A row that looks like the last one is gathered once for all of them.

    Args:
        loggers: The loggers, in calling order.
    """

    def __init__(self, loggers: Sequence[GatheringLogger]):
        self._loggers = loggers
        self._plain = PlainRows()
        for logger in loggers:
            logger.share(self)

    def __call__(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Take the row of a step."""
        if self._plain.add(step, log_data):
            return
        for logger in self._loggers:
            logger.before_parameter_update(step, log_data, driver)
        self._plain.expect(log_data)

    @property
    def wait(self) -> bool:
        """Whether gathered rows wait to be handed out."""
        return not self._plain.is_empty

    def hand_out(self) -> None:
        """Give each logger the rows that were gathered."""
        gathered = self._plain.take()
        if gathered is not None:
            for logger in self._loggers:
                logger._handed.append(gathered)
