"""A progress bar in the terminal or the notebook."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live


class ProgressBar(AbstractCallback):
    """Shows steps, speed and the loss on stderr, or as a widget in a notebook.

    The bar is drawn at most once every `min_interval` seconds and reads only the row, so that it
    costs a step next to nothing.

    Args:
        min_interval: Seconds between two drawings.
        leave: Whether the bar stays when the run has ended.
    """

    callback_order = CallbackOrder.LOG
    decides = False

    def __init__(self, min_interval: float = 0.1, leave: bool = True):
        self.min_interval = min_interval
        self.leave = leave
        self._bar: Any = None
        self._drawn = 0.0
        self._row: Mapping[str, Any] = {}

    def on_run_start(self, step: int, driver: Any) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        self._start, self._drawn, self._row = step, 0.0, {}
        self._bar = tqdm(
            total=driver.target_step - step,
            disable=jax.process_index() != 0,
            dynamic_ncols=True,
            leave=self.leave,
            mininterval=0.0,
        )

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Remember the row."""
        self._row = log_data

    def on_step_end(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Draw, if it is time."""
        now = time.monotonic()
        if now - self._drawn >= self.min_interval:
            self._drawn = now
            self._draw(step + 1, driver)

    def _draw(self, done: int, driver: Any) -> None:
        loss, mark = self._row.get(driver.loss_name), self._row.get("suspect")
        if loss is not None:
            text = _text(getattr(loss, "mean", loss) if mark else loss)
            text += f" (suspect: {mark})" if mark else ""
            self._bar.set_postfix_str(f"{driver.loss_name}={text}", refresh=False)
        self._bar.n = done - self._start
        self._bar.refresh()

    def _close(self, step: int, driver: Any) -> None:
        if self._bar is not None:
            self._draw(step, driver)
            self._bar.close()
            self._bar = None

    def on_run_end(self, step: int, driver: Any) -> None:
        """Draw the last state and close."""
        self._close(step, driver)

    def on_run_error(self, step: int, error: BaseException, driver: Any) -> None:
        """Draw the last state and close."""
        self._close(step, driver)

    is_live = never_live


def _text(loss: Any) -> str:
    """A number of any type with six digits; statistics as they show themselves."""
    if not isinstance(loss, int | float | complex | np.generic | np.ndarray | jax.Array):
        return str(loss)
    if np.size(loss) != 1 or np.asarray(loss).dtype.kind not in "biufc":
        return str(loss)
    number = np.asarray(loss).item()
    return f"{number:.6g}" if isinstance(number, complex) else f"{float(number):.6g}"
