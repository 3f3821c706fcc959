"""A stop condition."""

from ritz.callbacks import StopCondition, read_monitor
from ritz.driver import AbstractDriver
from ritz.types import Row


class Below(StopCondition):
    """Stops when a quantity is below a value.

    Args:
        value: The value.
        monitor: The quantity: a name in the rows, or "mean" for the mean of the loss.
    """

    def __init__(self, value: float = 0.0, monitor: str = "mean"):
        self.value, self.monitor = value, monitor

    def should_stop(self, step: int, log_data: Row, driver: AbstractDriver) -> str | None:
        """Why the run stops; None while it goes on."""
        found = read_monitor(self.monitor, log_data, driver)
        if found is not None and found[0] < self.value:
            return f"{self.monitor} is {found[0]:.3g}, below {self.value}"
        return None
