"""Callbacks of runs in time: the end of a run, and its progress bar."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from ritz.callbacks.progress_bar import AbstractBar
from ritz.driver.callback import AbstractCallback, CallbackOrder, StopReason, StopRun, never_live
from ritz.driver.rows import mean_of
from ritz.types import Row


class EndOfTime(AbstractCallback):
    """Ends a run when the row at its last time was written."""

    callback_order = CallbackOrder.STOP
    is_live = never_live  # only the row is read

    @property
    @override
    def label(self) -> str:
        return ""

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: Any) -> None:
        if log_data["dt"] == 0:
            stop = StopRun(f"the time {float(log_data['t']):g} is reached")
            stop.reason = StopReason.FINISHED
            raise stop


class TimeBar(AbstractBar):
    """A progress bar on stderr that shows the time and the energy.

    Args:
        duration: Time that the run takes.
    """

    _start = 0.0

    def __init__(self, duration: float):
        super().__init__()
        self.duration = duration

    @override
    def open_bar(self, step: int, driver: Any) -> dict[str, Any]:
        return {"total": self.duration, "unit": ""}

    @override
    def show(self, done: int, row: Row, driver: Any) -> tuple[float, Sequence[str]]:
        if not row:
            return 0.0, ()
        t = float(row["t"])
        energy = complex(mean_of(row[driver.loss_name])).real
        texts = (f"t={t:.4g}", f"{driver.loss_name}={energy:.6g}", f"step {done}")
        return t - driver.run_began, texts
