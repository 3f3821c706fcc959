"""Callbacks that go by epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
import pandas as pd
from typing_extensions import override

from ritz.callbacks import bar_outputs
from ritz.callbacks.progress_bar import AbstractBar
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.signatures import suggests_names
from ritz.types import Row, Settings

if TYPE_CHECKING:
    from ritz.mlip.training.driver import AbstractTraining


class EpochCallback(AbstractCallback):
    """A callback with hooks for epochs of training, besides those for steps.

    Subclasses implement `on_epoch_start` or `on_epoch_end`. They are deferred as others are: steps
    run in blocks, and the driver's state can be read in `on_epoch_end` only if `live_epochs` is
    set, which makes the last step of each epoch a live one.

    `on_epoch_end` comes after the last update of the epoch, when loggers have written the row. A
    value for the logs is added in `before_parameter_update`, where the row has the errors of the
    epoch at its last step. If it is a number, it is in `TrainOut.errors` too::

        def before_parameter_update(self, step, log_data, driver):
            if "RMSE_test" in log_data:
                log_data["overfit_ratio"] = log_data["RMSE_test"] / log_data["RMSE_train"]
    """

    more_hooks = ("on_epoch_start", "on_epoch_end")

    live_epochs = False
    """Whether the last step of each epoch is live."""

    _n_batches = 0

    def check_run(self, driver: "AbstractTraining", resume: bool) -> None:
        """Note the number of batches: a resumed run asks for live steps before it starts.

        Raises:
            TypeError: If the driver has no epochs.
        """
        n_batches = getattr(driver, "n_batches", None)
        if n_batches is None:
            raise TypeError(
                f"{self.label} goes by epochs, which {type(driver).__name__} does not have."
            )
        self._n_batches = n_batches

    def on_epoch_start(self, epoch: int, driver: "AbstractTraining") -> None:
        """Called before the first step of an epoch; they are counted from 0."""

    def on_epoch_end(self, epoch: int, log_data: Row, driver: "AbstractTraining") -> None:
        """Called after the last step of an epoch, whose row has the errors of both splits.

        The row has been written: keys that are added to it here are in no log; see the class.
        """

    def on_step_start(self, step: int, log_data: Row, driver: "AbstractTraining") -> None:
        """Call `on_epoch_start` at the first step of an epoch."""
        if step % driver.n_batches == 0:
            self.on_epoch_start(step // driver.n_batches, driver)

    def on_step_end(self, step: int, log_data: Row, driver: "AbstractTraining") -> None:
        """Call `on_epoch_end` at the last step of an epoch."""
        self._n_batches = driver.n_batches
        if (step + 1) % driver.n_batches == 0:
            self.on_epoch_end(step // driver.n_batches, log_data, driver)

    def on_run_start(self, step: int, driver: "AbstractTraining") -> None:
        """Note the number of batches in an epoch."""
        self._n_batches = driver.n_batches

    def is_live(self, step: int) -> bool:
        """Only at the end of epochs, and only if that is asked for."""
        return self.live_epochs and self._n_batches > 0 and (step + 1) % self._n_batches == 0

    @override
    def ends_block(self, step: int) -> bool:
        return False


_OF_STEPS = ("attempts", "retries", "rate_scale", "wallclock")
"""Keys of rows that say nothing of an epoch."""


def _added_numbers(row: Row, driver: "AbstractTraining") -> Row:
    """The numbers that callbacks have added to the row of an epoch."""
    known = {"loss", "epoch", *driver.logs, *_OF_STEPS}
    return {
        name: float(value)
        for name, value in row.items()
        if name not in known
        and isinstance(value, int | float | np.number | np.ndarray | jax.Array)
        and np.ndim(value) == 0
        and np.isrealobj(value)
    }


class EpochHistory(AbstractCallback):
    """Keeps the errors of every epoch, and the numbers that callbacks have added to its row.

    Of a committee, errors are lists of those of its members.
    """

    callback_order = CallbackOrder.LOG
    state_fields = ("rows",)
    decides = False

    def __init__(self) -> None:
        self.rows: list[Row] = []
        """Epoch, errors, numbers of callbacks, learning rate and seconds."""

    def before_parameter_update(self, step: int, log_data: Row, driver: "AbstractTraining") -> None:
        """Store the errors of the row, if it has any."""
        if "RMSE_train" not in log_data:
            return
        source = log_data.get("members", log_data)
        found = {k: np.asarray(source[k]).tolist() for k in ("loss", *driver.logs) if k in source}
        found.pop("members", None)
        epoch = int(log_data["epoch"])
        while self.rows and self.rows[-1]["epoch"] >= epoch:  # of a run that was stopped there
            self.rows.pop()
        self.rows.append(
            {
                "epoch": epoch,
                **found,
                **_added_numbers(log_data, driver),
                "learning_rate": driver.learning_rate(log_data.get("rate_scale", 1.0)),
                "seconds": float(log_data["wallclock"]),
            }
        )

    is_live = never_live

    def table(self, member: int | None = None) -> pd.DataFrame:
        """The errors by epoch, of one member if there are several."""
        rows = [
            {
                k: v if member is None or not isinstance(v, list) else v[member]
                for k, v in row.items()
            }
            for row in self.rows
        ]
        return pd.DataFrame(rows).set_index("epoch") if rows else pd.DataFrame()


class EpochProgress(AbstractBar):
    """Shows a bar of epochs with the latest errors, and one of batches if that is asked for.

    Args:
        batches: Whether the batches of each epoch are shown too.
    """

    @suggests_names
    def __init__(self, batches: bool = False):
        super().__init__()
        self.batches = batches
        self._batch_bar: bar_outputs.Bar | None = None
        self._errors: list[str] = []

    @override
    def open_bar(self, step: int, driver: "AbstractTraining") -> Settings:
        self._errors, n_batches = [], driver.n_batches
        if self.batches and bar_outputs.redraws():
            self._batch_bar = bar_outputs.new_bar(
                total=n_batches, unit="batch", leave=False, disable=jax.process_index() != 0
            )
        total, done = driver.target_step // n_batches, step // n_batches
        return {"total": total, "initial": done, "unit": "epoch"}

    def before_parameter_update(self, step: int, log_data: Row, driver: "AbstractTraining") -> None:
        """Remember the errors, which are in the last row of an epoch."""
        super().before_parameter_update(step, log_data, driver)
        names = ("RMSE_train", "RMSE_test", "RMSE_force_train", "RMSE_force_test")
        if names[0] in log_data:
            shown = [name for name in names if name in log_data]
            self._errors = [f"{name}={log_data[name]:.4g}" for name in shown]

    def show(self, done: int, row: Row, driver: "AbstractTraining") -> tuple[float, Sequence[str]]:
        """How many epochs have ended, and the errors after the last."""
        if self._batch_bar is not None:
            self._batch_bar.n = done % driver.n_batches
            self._batch_bar.refresh()
        return done // driver.n_batches, self._errors

    def _close(self, step: int, driver: "AbstractTraining") -> None:
        super()._close(step, driver)
        bar, self._batch_bar = self._batch_bar, None
        if bar is not None:
            bar.close()
