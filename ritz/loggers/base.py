"""The base class of loggers."""

import abc
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import jax
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.loggers.checksums import RowsLostError
from ritz.loggers.flat_row import FlatRow, as_number
from ritz.loggers.series import Series
from ritz.types import Row, State


class AbstractLogger(AbstractCallback, abc.ABC):
    """Base class of loggers, which write each step's row. Implement `open` and `write`.

    The run enters `open` before its first step, calls `write` once per accepted step, before the
    parameters move, and leaves `open` when it ends, also after an error. With several processes
    only the first one opens and writes, unless `every_process` is set.

    A logger can also be called by hand, `logger(step, row)`, and then flushed: it opens itself.
    That is how the drivers of NetKet use it.
    """

    callback_order = CallbackOrder.LOG
    run_argument = "out"
    decides = False
    every_process: ClassVar[bool] = False

    flat_names: ClassVar[bool] = True
    """Whether `write` may look up numbers within statistics by flat names, see `FlatRow`."""

    hold = False
    """Whether the next row follows at once, within a block, so that both may be written together;
    false for the last row of a block."""

    resuming = False
    """Whether the next run goes on with the log of a saved one: `open` keeps the rows before
    `initial_step` in every mode."""

    complete = False
    """Whether the saved run was ended by a callback: then its last row stays too, although its
    update was not applied."""

    _opened: contextlib.ExitStack | None = None
    _by_hand = False

    @abc.abstractmethod
    def open(
        self, working_dir: Path, stage_name: str, initial_step: int = 0
    ) -> contextlib.AbstractContextManager[None]:
        """Context manager in which all input and output happens; nothing is touched before.

        Args:
            working_dir: The folder for files with a relative path; it exists.
            stage_name: The name of files that have no name of their own.
            initial_step: The first step that will be written. Rows at or beyond it, left by an
                interrupted run, are dropped.
        """

    @abc.abstractmethod
    def write(self, step: int, stats: Row) -> None:
        """Write one row; `step` grows from call to call. Values may be nested, or statistics.

        Numbers in statistics also have flat names, such as `stats["total_energy"]`, see
        `ritz.loggers.flat_row.FlatRow`.
        """

    def flush(self, state: object = None) -> None:
        """Make all written rows readable; leaves `open` if a call by hand entered it."""
        if self._by_hand:
            self.close()

    def sync(self) -> None:
        """Send all rows to the disk or server; called before a checkpoint counts on them."""

    # Used by checkpoints, so that a resumed run knows that no row was lost.

    def file(self, working_dir: Path, stage_name: str) -> Path | None:
        """The file that `open` writes; None if there is none."""
        return None

    def account(self, step: int) -> State | None:
        """Account of the rows before `step`, for `recover`: values that JSON can hold.

        Returns:
            At least the file's name (`file`), the number of `rows`, and their `checksum`; None if
            the logger keeps no account.
        """
        return None

    def recover(self, working_dir: Path, stage_name: str, step: int, account: State) -> None:
        """Check that the rows before `step` are there, and drop the others; called before `open`.

        Args:
            working_dir: As for `open`.
            stage_name: As for `open`.
            step: The first step that will be written.
            account: The account at the time the run was saved.

        Raises:
            RowsLostError: If rows are missing or were changed; nothing is touched then.
        """

    def series(self, working_dir: Path, stage_name: str, step: int) -> Mapping[str, Series]:
        """The rows that `recover` found, from which another log can be rebuilt."""
        return {}

    def rebuild(
        self,
        working_dir: Path,
        stage_name: str,
        account: State,
        series: Mapping[str, Series],
    ) -> None:
        """Write the log anew, from the rows of another one.

        Args:
            working_dir: As for `open`.
            stage_name: As for `open`.
            account: The account that the new log must match.
            series: The rows of the other log, from `series`.

        Raises:
            RowsLostError: If the result differs from the saved rows; nothing is touched then.
        """
        raise RowsLostError(f"{self.label} cannot be rebuilt")

    def set_aside(self, working_dir: Path, stage_name: str) -> None:
        """Move a damaged file out of the way, to begin anew in its place; `.damaged` is added."""

    @staticmethod
    def to_scalar(value: object) -> float:
        """A value of a row as a float: the real part; the mean for statistics and larger arrays.

        What holds no number, such as text or None, is NaN.
        """
        return as_number(value)

    def _begin(self, working_dir: Path, stage_name: str, step: int) -> None:
        if self.every_process or jax.process_index() == 0:
            Path(working_dir).mkdir(parents=True, exist_ok=True)
            self._opened = contextlib.ExitStack()
            self._opened.enter_context(self.open(Path(working_dir), stage_name, step))

    def close(self) -> None:
        """Leave `open`, if it was entered."""
        opened, self._opened, self._by_hand, self.hold = self._opened, None, False, False
        if opened is not None:
            opened.close()

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        self.close()
        first = sys.maxsize if self.complete else step
        self._begin(driver.working_dir, driver.stage_name, first)
        self.resuming = self.complete = False

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if self._opened is not None:
            block = driver.block
            self.hold = block is not None and step != block[-1]
            self.write(step, self._row(log_data, driver) if self.flat_names else log_data)

    def _row(self, log_data: Row, driver: AbstractDriver) -> Row:
        """The row in the form that `write` gets."""
        return FlatRow(log_data, driver.loss_name)

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self.close()

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self.close()

    is_live = never_live

    def __call__(self, step: int, item: Row, state: object = None) -> None:
        """Write a row by hand, as drivers of NetKet do; enters `open` if necessary."""
        if self._opened is None:
            self._begin(Path(), "run", step)
            self._by_hand = True
        if self._opened is not None:
            self.write(step, item)
