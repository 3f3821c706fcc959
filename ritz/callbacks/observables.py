"""Estimates observables during a run."""

import functools
from collections.abc import Container, Mapping

from typing_extensions import override

from ritz.checks import check_count, named
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder
from ritz.driver.signatures import suggests_names
from ritz.types import Row


class Observables(AbstractCallback):
    """Adds the expectation values of observables to the row, from the samples of the step.

    Args:
        observables: Name -> observable, as the driver's `estimate` takes them.
        interval: Estimate at steps that are multiples of this.
        fullsum: Whether to sum over all configurations instead of the samples.
    """

    callback_order = CallbackOrder.OBSERVE
    decides = False

    @suggests_names
    def __init__(self, observables: Mapping[str, object], interval: int = 1, fullsum: bool = False):
        if not isinstance(observables, Mapping):
            raise TypeError(
                f"observables must be a dict of name -> observable, but {observables!r} was given."
            )
        self.observables = dict(observables)
        self.interval = check_count("interval", interval, 1)
        self.fullsum = fullsum
        self.logs = tuple(self.observables)

    def check_run(self, driver: AbstractDriver, resume: bool) -> None:
        """Refuse observables that the driver cannot estimate, naming them."""
        for name, observable in self.observables.items():
            check = functools.partial(driver.check_observable, observable)
            named(f"obs[{name!r}]", check)
            _refuse_taken(name, [driver.loss_name])

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if self.is_live(step):
            for name in self.observables:
                _refuse_taken(name, log_data)
            log_data.update(driver.estimate(self.observables, fullsum=self.fullsum))

    @override
    def is_live(self, step: int) -> bool:
        return step % self.interval == 0


def _refuse_taken(name: str, taken: Container[str]) -> None:
    if name in taken:
        raise ValueError(f"an observable cannot be called {name!r}; rows already have this name.")
