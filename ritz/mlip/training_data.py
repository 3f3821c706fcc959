"""The data of a driver, on the device or streamed to it."""

from typing import Any

from ritz.mlip.abstract_model import AbstractModel
from ritz.mlip.arrays import on_device
from ritz.mlip.batch_errors import OfEach
from ritz.mlip.config import TrainingConfig
from ritz.mlip.kernel import TrainingCarry, TrainingKernel
from ritz.mlip.losses import ErrorSums
from ritz.mlip.prepare import Prepared
from ritz.mlip.rooms import Plan, Room, fixed_plan
from ritz.mlip.split import Split
from ritz.mlip.streaming import DataStream
from ritz.mlip.windows import Windows, error_sums_of, window_size


class TrainingData:
    """Both splits, either on the device as a whole or window by window.

    Args:
        model: What they are packed for.
        prepared: The splits.
        config: Batch size, and how data are streamed.
        real: The precision on the device.
        of_each: Applies a function to the networks, or to those of each member.
    """

    def __init__(
        self,
        model: AbstractModel,
        prepared: Prepared,
        config: TrainingConfig,
        real: Any,
        of_each: OfEach,
    ):
        assert prepared.train is not None
        self._model, self._config, self._of_each = model, config, of_each
        train = prepared.train
        self._windows = Windows(train, config) if isinstance(train, DataStream) else None
        self.train: Split = on_device(_known(train), real)
        """The split to train on; without rows of atoms if it is streamed."""
        self.test = prepared.test
        """The validation split, or None."""
        if isinstance(self.test, Split):
            self.test = on_device(self.test, real)

    @property
    def is_streamed(self) -> bool:
        """Whether the device has some of the data at a time."""
        return self._windows is not None

    def window_size(self, room: Room, n_batches: int) -> int:
        """Of how many batches data are on the device at a time; 0 for all."""
        if self._windows is None:
            return 0
        return window_size(self._windows.stream, room, self._config, n_batches)

    def load(self, kernel: TrainingKernel, carry: TrainingCarry) -> Split | None:
        """The data of the next batches, or None if they are there already."""
        return None if self._windows is None else self._windows.load(kernel, carry)

    def warm_up(self) -> None:
        """Fill the caches of streamed data."""
        for data in (None if self._windows is None else self._windows.stream, self.test):
            if isinstance(data, DataStream):
                data.warm_up()

    def forget(self) -> None:
        """What was prepared is no longer right."""
        if self._windows is not None:
            self._windows.forget()

    def close(self) -> None:
        """End the threads that prepare data."""
        if self._windows is not None:
            self._windows.close()

    def _split(self, name: str) -> Split | DataStream:
        if name == "train":
            return self.train if self._windows is None else self._windows.stream
        assert self.test is not None
        return self.test

    def whole_plan(self, name: str) -> tuple[Room, Plan]:
        """Batches that have each structure of "train" or "test" once."""
        known = _known(self._split(name))
        return fixed_plan(known, self._config.method.batchsize, self._config.uses_stress)

    def error_sums(self, name: str, state: Any, room: Room, plan: Plan) -> ErrorSums:
        """The errors of a state's networks on the batches of a plan."""
        return error_sums_of(
            self._model, self._split(name), room, plan, self._config, self._of_each,
            state.normalisation, state.parameters,
        )  # fmt: skip


def _known(data: Split | DataStream) -> Split:
    """The split, without rows of atoms if it is streamed."""
    return data.split if isinstance(data, DataStream) else data
