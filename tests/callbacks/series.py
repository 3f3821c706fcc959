"""A driver that gives the losses of a list."""

import types

import numpy as np

from ritz.driver import AbstractDriver


class Series(AbstractDriver):
    """Gives the losses of a list, whatever the parameters are."""

    def __init__(self, losses, errors=None):
        super().__init__(types.SimpleNamespace(parameters=np.zeros(1)))
        self.losses = losses
        self.errors = errors if errors is not None else [0.0] * len(losses)
        self.applied = []

    def reset_step(self): ...

    def compute_loss_and_update(self):
        k = self.step_count
        stats = types.SimpleNamespace(
            mean=self.losses[k], error_of_mean=self.errors[k], variance=self.losses[k] ** 2
        )
        return stats, k

    def update_parameters(self, update):
        self.applied.append(update)


def stopped_at(losses, callback, errors=None):
    """The step count at which the callback ends a run over the losses."""
    driver = Series(losses, errors)
    driver.run(len(losses), callback=callback, show_progress=False)
    assert driver.applied == list(range(driver.step_count))
    return driver.step_count
