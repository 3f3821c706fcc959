"""A callback."""

import jax

from ritz.callbacks import AbstractCallback
from ritz.driver import AbstractDriver
from ritz.types import Row


class LongestStep(AbstractCallback):
    """Logs the largest update so far."""

    state_fields = ("longest",)  # what a resumed run needs
    logs = ("longest",)

    def __init__(self) -> None:
        self.longest = 0.0

    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        """Compare the update with those before, and log it."""
        largest = max(float(abs(leaf).max()) for leaf in jax.tree.leaves(driver.update))
        self.longest = max(self.longest, largest)
        log_data["longest"] = self.longest
