"""The methods and attributes that a subclass of `AbstractDriver` provides."""

import contextlib
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
from jaxtyping import PyTree

from ritz.driver.arguments import Plugin, as_callback
from ritz.driver.callback import AbstractCallback
from ritz.driver.driver_view import DriverView
from ritz.full_precision import in_full_precision
from ritz.types import Loss, Row, Settings


class StepProvider(DriverView):
    """Interface that subclasses of `AbstractDriver` implement; three methods are required."""

    adjustable: ClassVar[frozenset[str]] = frozenset()
    """The settings, of `rate_scale`, `damping_scale` and `chunk_sizes`, that the driver uses."""

    logs: ClassVar[tuple[str, ...]] = ()
    """Names of quantities that are logged, but not at every step."""

    period: tuple[str, int] = ("step", 1)
    """The name of the interval at whose end `logs` appear in a row, and its length in steps.

    Messages of stop conditions speak of it: `("epoch", 40)` gives "no better for 5 epochs".
    """

    rate_scale: float = 1.0
    """Factor of the optimiser's steps, used if `adjustable` names it."""

    damping_scale: float = 1.0
    """Factor of the update rule's diagonal shift, used if `adjustable` names it."""

    working_dir: Path = Path()
    """Folder to which relative paths of loggers refer."""

    stage_name: str = "run"
    """Name of the run in loggers that were given none."""

    diverges: bool = True
    """Whether a loss that is not finite means that the run has diverged."""

    can_go_back: bool = True
    """Whether `restore` brings the driver back to the last good state."""

    changes_besides: str = ""
    """What steps change besides the parameters, so that those of an earlier step alone are no state
    of the run, such as "the nuclei"; for callbacks that put parameters back."""

    doubt_remedies: Mapping[str, str] = {}
    """Name of a doubt about the numbers of a step -> what it means and what to try."""

    telling_doubts: frozenset[str] = frozenset()
    """The doubts that indicate exploded parameters."""

    def reset_step(self) -> None:
        """Forget the samples of the last attempt; called before each attempt."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_step(self).")

    def compute_loss_and_update(self) -> tuple[Loss, PyTree]:
        """Compute the loss at the present parameters and the update, and move nothing.

        Returns:
            The loss (a number, or an object with attributes such as `mean`), and the update in
            the form that `update_parameters` takes.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define compute_loss_and_update(self) -> loss, update."
        )

    def update_parameters(self, update: PyTree) -> None:
        """Move the parameters by `update`; the loop counts the step."""
        raise NotImplementedError(f"{type(self).__name__} must define update_parameters(self, dp).")

    def trial_loss(self, update: PyTree) -> Loss:
        """The loss after `update`, on the samples of this step; changes nothing.

        Raises:
            NotImplementedError: If the driver cannot evaluate it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot evaluate a trial loss; define trial_loss(self, update)."
        )

    def estimate(self, observables: object, fullsum: bool = False) -> Any:
        """Expectation values in the present state, in the full precision of their numbers.

        Args:
            observables: One observable, or a dict or list of them.
            fullsum: Whether to sum over all configurations instead of the samples.

        Returns:
            The same structure with statistics in place of observables.
        """
        if isinstance(observables, Mapping):
            return {k: self.estimate(v, fullsum) for k, v in observables.items()}
        if isinstance(observables, list | tuple):
            return [self.estimate(v, fullsum) for v in observables]
        return in_full_precision(self._estimate_one)(observables, fullsum)

    def check_observable(self, observable: object) -> None:
        """Refuse what `estimate` cannot take; asked before a run.

        Raises:
            TypeError: If it is no observable of this driver.
            ValueError: If it does not fit the state.
        """

    def _estimate_one(self, observable: object, fullsum: bool) -> Any:
        if fullsum:
            raise NotImplementedError(f"{type(self).__name__} cannot sum over all configurations.")
        return self.state.expect(observable)

    def _accept_step(self) -> bool:
        """Asked once no callback has rejected the attempt; False rejects it."""
        return True

    def _log_additional_data(self, log_data: Row) -> None:
        """Add to an accepted row; called before `before_parameter_update`."""

    def snapshot_parameters(self) -> PyTree:
        """A copy of the parameters that later updates leave alone."""
        return jax.tree.map(copy.copy, self.parameters)

    def snapshot(self) -> PyTree:
        """Everything that `restore` needs to undo later updates."""
        return self.snapshot_parameters()

    def restore(self, snapshot: PyTree, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; `step_count` keeps counting the updates that were applied.

        Args:
            snapshot: Return value of `snapshot`.
            fresh_samples: Whether random numbers go on from where they are, instead of
                repeating what followed the snapshot.
        """
        self.parameters = jax.tree.map(copy.copy, snapshot)

    @property
    def settings(self) -> Settings:
        """Settings on which the results depend besides the state: name -> value.

        A run is resumed only with the same settings, as `ritz.driver.description` tells them.
        """
        return {"driver": type(self)}

    def begin_run(self) -> None:
        """Called before a run; may prepare the driver for it."""

    def end_run(self) -> None:
        """Called after a run, however it ended."""

    def environment(self) -> contextlib.AbstractContextManager[object]:
        """Settings of the process that hold while the driver runs."""
        return contextlib.nullcontext()

    def adapt(self, plugin: Plugin, argument: str) -> AbstractCallback:
        """Turn what was given to `run` as `argument` into a callback, or raise TypeError."""
        return as_callback(plugin, argument)
