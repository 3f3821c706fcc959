"""Drivers with padded arrays that may prove too small while a run goes on."""

import abc

from jaxtyping import PyTree
from typing_extensions import override

from ritz.driver.own_precision import OwnPrecision
from ritz.types import State


class GrowingDriver(OwnPrecision):
    """Has padded arrays that grow: neighbour lists, batches of structures of different sizes.

    Compiled programs need fixed shapes. A step that does not fit says so in its carry, and its
    kernel pauses the block; `attend` then finds larger sizes, calls `grow`, and the step is taken
    again. Checkpoints hold the sizes, so that a resumed run compiles the same programs.
    """

    @abc.abstractmethod
    def rebuild(self) -> None:
        """Make the kernel for the present sizes; called in the driver's precision."""

    @abc.abstractmethod
    def saved_sizes(self) -> State:
        """The sizes, as numbers and lists of them."""

    @abc.abstractmethod
    def load_sizes(self, saved: State) -> None:
        """Set the sizes to those of a snapshot."""

    @abc.abstractmethod
    def saved_carry(self, carry: PyTree) -> State:
        """What a snapshot holds of the carry: all that does not follow from the rest."""

    @abc.abstractmethod
    def loaded_carry(self, saved: State, fresh_samples: bool) -> PyTree:
        """The carry of a snapshot, completed for the kernel that `rebuild` has made."""

    def grow(self) -> None:
        """Take the sizes that were just set: the programs will be compiled once more."""
        with self._precision():
            self.rebuild()
        self._compiled_in_run = False

    @override
    def snapshot(self) -> State:
        return {**self.saved_carry(super().snapshot()), **self.saved_sizes()}

    @override
    def restore(self, snapshot: State, *, fresh_samples: bool = False) -> None:
        self.load_sizes(snapshot)
        with self._precision():
            self.rebuild()
            self.carry = self.loaded_carry(snapshot, fresh_samples)
