"""A progress bar in the terminal or the notebook."""

import abc
import time
from typing import Any

import jax
import numpy as np
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.rows import mean_of
from ritz.driver.signatures import suggests_names
from ritz.types import Loss, Row, Settings


class AbstractBar(AbstractCallback, abc.ABC):
    """Base class of progress bars, on stderr or as a widget in a notebook.

    The rate is that of the last steps, so that compilation is soon forgotten.

    A subclass gives the arguments of `tqdm` in `open_bar`, and position and text in `show`.

    Args:
        min_interval: Seconds between two drawings.
    """

    callback_order = CallbackOrder.LOG
    decides = False
    is_live = never_live

    @suggests_names
    def __init__(self, min_interval: float = 0.1):
        self.min_interval = min_interval
        self._bar: Any = None
        self._drawn = 0.0
        self._row: Row = {}

    @abc.abstractmethod
    def open_bar(self, step: int, driver: AbstractDriver) -> Settings:
        """The arguments of `tqdm`, such as `total`; called when a run begins."""

    @abc.abstractmethod
    def show(self, done: int, row: Row, driver: AbstractDriver) -> tuple[int, str]:
        """Position of the bar, and the text behind it.

        Args:
            done: The step count.
            row: The newest row; empty before the first.
            driver: The driver.
        """

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        from tqdm.auto import tqdm

        self._drawn, self._row = 0.0, {}
        self._bar = tqdm(
            disable=jax.process_index() != 0,
            dynamic_ncols=True,
            mininterval=0.0,
            miniters=1,
            **self.open_bar(step, driver),
        )

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
        position, text = self.show(done, self._row, driver)
        self._bar.set_postfix_str(text, refresh=False)
        if not self._bar.update(position - self._bar.n):
            self._bar.refresh()

    def _close(self, step: int, driver: AbstractDriver) -> None:
        if self._bar is not None:
            self._draw(step, driver)
            self._bar.close()
            self._bar = None

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self._close(step, driver)

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._close(step, driver)


class ProgressBar(AbstractBar):
    """Shows steps, speed and the loss on stderr, or as a widget in a notebook.

    The bar is drawn at most once every `min_interval` seconds and reads only the row, so that it
    costs a step next to nothing.

    Args:
        min_interval: Seconds between two drawings.
        leave: Whether the bar stays when the run has ended.
    """

    @suggests_names
    def __init__(self, min_interval: float = 0.1, leave: bool = True):
        super().__init__(min_interval)
        self.leave = leave
        self._start = 0

    @override
    def open_bar(self, step: int, driver: AbstractDriver) -> Settings:
        self._start = step
        return {"total": driver.target_step - step, "leave": self.leave}

    @override
    def show(self, done: int, row: Row, driver: AbstractDriver) -> tuple[int, str]:
        loss, mark = row.get(driver.loss_name), row.get("suspect")
        if loss is None:
            return done - self._start, ""
        text = _text(mean_of(loss) if mark else loss) + (f" (suspect: {mark})" if mark else "")
        return done - self._start, f"{driver.loss_name}={text}"


def _text(loss: Loss) -> str:
    """A number of any type with six digits; statistics by their own `str`."""
    if not isinstance(loss, int | float | complex | np.generic | np.ndarray | jax.Array):
        return str(loss)
    if np.size(loss) != 1 or np.asarray(loss).dtype.kind not in "biufc":
        return str(loss)
    number = np.asarray(loss).item()
    return f"{number:.6g}" if isinstance(number, complex) else f"{float(number):.6g}"
