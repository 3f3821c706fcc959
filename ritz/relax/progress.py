"""A bar that counts structures."""

import time
from typing import Any

import jax

from ritz.driver.callback import AbstractCallback, CallbackOrder


class StructureProgress(AbstractCallback):
    """Shows on stderr how many structures have converged, run, wait and have failed.

    Args:
        min_interval: Seconds between two drawings.
    """

    callback_order = CallbackOrder.LOG
    decides = False

    def __init__(self, min_interval: float = 0.1):
        self.min_interval = min_interval
        self._bar: Any = None
        self._drawn = 0.0
        self._row: dict[str, Any] = {}

    def on_run_start(self, step: int, driver: Any) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        self._drawn, self._row = 0.0, {}
        self._bar = tqdm(
            total=len(driver.settled_state),
            disable=jax.process_index() != 0,
            unit="structure",
            dynamic_ncols=True,
            mininterval=0.0,
        )

    def before_parameter_update(self, step: int, log_data: dict[str, Any], driver: Any) -> None:
        """Draw, if it is time."""
        self._row = log_data
        now = time.monotonic()
        if now - self._drawn >= self.min_interval:
            self._drawn = now
            self._draw(step)

    def _draw(self, step: int) -> None:
        if self._row:
            counts = {name: self._row[name] for name in ("converged", "unconverged", "failed")}
            told = [f"{n} {name}" for name, n in counts.items() if n or name == "converged"]
            told += [f"{self._row['running']} running", f"step {step}"]
            self._bar.set_postfix_str(", ".join(told), refresh=False)
            self._bar.n = sum(counts.values())
        self._bar.refresh()

    def _close(self, step: int) -> None:
        if self._bar is not None:
            self._draw(step)
            self._bar.close()
            self._bar = None

    def on_run_end(self, step: int, driver: Any) -> None:
        """Draw the last state and close."""
        self._close(step)

    def on_run_error(self, step: int, error: BaseException, driver: Any) -> None:
        """Draw the last state and close."""
        self._close(step)

    def is_live(self, step: int) -> bool:
        """Deferred at all steps."""
        return False
