"""Progress bars in the terminal, a log file or the notebook."""

import abc
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.compiled import CompiledDriver
from ritz.driver.rows import error_of, mean_of
from ritz.driver.signatures import suggests_names
from ritz.types import Loss, Row, Settings, Value

if TYPE_CHECKING:
    from ritz.callbacks.bar_outputs import Bar, RoomForMessages


class AbstractBar(AbstractCallback, abc.ABC):
    """Base class of progress bars: a line on stderr, or a display in a notebook.

    The line fits the width of the terminal. Where stderr is no terminal, lines are written after
    10, 30, 70 s and so on, and at the end. The rate is that of the last steps, so that compilation
    is soon forgotten. Log messages of Ritz are written above the bar.

    A subclass gives the arguments of `tqdm` in `open_bar`, and position and texts in `show`.

    Args:
        min_interval: Seconds between two drawings.
    """

    callback_order = CallbackOrder.LOG
    decides = False
    is_live = never_live

    @suggests_names
    def __init__(self, min_interval: float = 0.1):
        self.min_interval = min_interval
        self._bar: Bar | None = None
        self._room: RoomForMessages | None = None
        self._drawn = 0.0
        self._row: Row = {}
        self._has_rows = False

    @abc.abstractmethod
    def open_bar(self, step: int, driver: AbstractDriver) -> Settings:
        """The arguments of `tqdm`, such as `total`; called when a run begins."""

    @abc.abstractmethod
    def show(self, done: int, row: Row, driver: AbstractDriver) -> tuple[float, Sequence[str]]:
        """Position of the bar, and texts behind it, of which the last are left out if need be.

        Args:
            done: The step count.
            row: The newest row; empty before the first.
            driver: The driver.
        """

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        from ritz.callbacks.bar_outputs import RoomForMessages, new_bar

        self._drawn, self._row = 0.0, {}
        self._bar = new_bar(disable=jax.process_index() != 0, **self.open_bar(step, driver))
        if isinstance(driver, CompiledDriver) and not self._bar.disable:
            self._bar.parts = ("compiling the first step",)
            self._bar.refresh()
        self._has_rows = False
        self._room = RoomForMessages(self._bar)
        self._room.start()

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        self._row = log_data

    @override
    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        now = time.monotonic()
        if now - self._drawn >= self.min_interval:
            self._drawn = now
            self._draw(step + 1, driver)

    def _draw(self, done: int, driver: AbstractDriver) -> None:
        if self._bar is None:
            return
        position, texts = self.show(done, self._row, driver)
        self._bar.parts = tuple(" ".join(text.split()) for text in texts if text)
        if self._row and not self._has_rows and not self._bar.disable:
            self._has_rows = True
            self._bar.begin(position)
        elif not self._bar.update(position - self._bar.n):
            self._bar.refresh()

    def _close(self, step: int, driver: AbstractDriver) -> None:
        if self._bar is not None:
            self._draw(step, driver)
            self._bar.close()
        if self._room is not None:
            self._room.stop()
        self._bar = self._room = None

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self._close(step, driver)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._close(step, driver)


class ProgressBar(AbstractBar):
    """Shows steps, time, speed, the loss with its error, and the acceptance.

    `lowest` is the smallest loss so far, judged by mean plus error as `BestState` does; steps with
    suspect or infinite numbers do not count. The bar is drawn at most once every `min_interval`
    seconds and reads only the row, so that it costs a step next to nothing.

    Args:
        min_interval: Seconds between two drawings.
        leave: Whether the bar stays when the run has ended.
        block: Whether the number of steps in a compiled block is shown.
    """

    @suggests_names
    def __init__(self, min_interval: float = 0.1, leave: bool = True, block: bool = False):
        super().__init__(min_interval)
        self.leave = leave
        self.block = block
        self._start = 0
        self._lowest: Loss | None = None
        self._score = math.inf
        self._block = 0

    @override
    def open_bar(self, step: int, driver: AbstractDriver) -> Settings:
        self._start, self._lowest, self._score, self._block = step, None, math.inf, 0
        return {"total": driver.target_step - step, "leave": self.leave}

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        self._row = log_data
        loss = log_data.get(driver.loss_name)
        mean = loss if type(loss) is float else getattr(loss, "mean", None)
        self._block = log_data.get("block", self._block)
        if type(mean) is float and "suspect" not in log_data:
            error = error_of(loss)
            score = mean + error if type(error) is float and error == error else mean
            if -math.inf < score < self._score:
                self._score, self._lowest = score, loss

    @override
    def show(self, done: int, row: Row, driver: AbstractDriver) -> tuple[float, Sequence[str]]:
        loss, mark = row.get(driver.loss_name), row.get("suspect")
        if loss is None:
            return done - self._start, ()
        text, _, details = _text(mean_of(loss) if mark else loss).partition(" [")
        parts = [f"{driver.loss_name}={text}" + (f" (suspect: {mark})" if mark else "")]
        acceptance = row.get("acceptance")
        if acceptance is not None and np.ndim(acceptance) == 0:
            parts.append(f"acceptance={float(acceptance):.2g}")
        if "temperature" in row and np.ndim(row["temperature"]) == 0:
            parts.append(f"temperature={float(row['temperature']):.4g}")
        if self._lowest is not None:
            parts.append(f"lowest={_text(self._lowest).partition(' [')[0]}")
        parts.append(details.removesuffix("]"))
        if self.block:
            parts.append(f"block={self._block or 1}")
        return done - self._start, parts


def _text(loss: Loss | Value) -> str:
    """A number of any type with six digits; statistics by their own `str`, or mean and error."""
    mean, error = mean_of(loss), error_of(loss)
    if isinstance(loss, tuple) and type(loss).__str__ is tuple.__str__ and _is_number(mean):
        return _number(mean) + (f" ± {float(np.real(error)):.2g}" if _is_number(error) else "")
    return _number(loss) if _is_number(loss) else str(loss)


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float | complex | np.generic | np.ndarray | jax.Array):
        return False
    return np.size(value) == 1 and np.asarray(value).dtype.kind in "biufc"


def _number(value: object) -> str:
    number = np.asarray(value).item()
    return f"{number:.6g}" if isinstance(number, complex) else f"{float(number):.6g}"
