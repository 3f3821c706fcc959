"""Every exported callback passes the conformance check; a new one is found here by itself."""

import pytest

import ritz.callbacks
from ritz.callbacks import AbstractCallback, StopCondition
from ritz.testing import check_callback

ARGUMENTS = {
    "ConvergenceStopping": {"target": 1.2, "patience": 1, "smoothing_window": 2},
    "EarlyStopping": {"patience": 2},
    "LambdaCallback": {"on_step_end": lambda step, log_data, driver: None},
    "Observables": {"observables": {"sum": lambda p: float(p.sum())}, "interval": 2},
    "PlateauStopping": {"window": 4},
    "ReduceLROnPlateau": {"patience": 1},
    "Timeout": {"total": 1000.0},
    "TrustRegion": {"tolerance": 0.1},
}
ABSTRACT = {AbstractCallback, StopCondition}
COMBINATIONS = {"AllOf", "AnyOf"}

CONCRETE = {
    name: value
    for name, value in vars(ritz.callbacks).items()
    if isinstance(value, type) and issubclass(value, AbstractCallback) and value not in ABSTRACT
}


@pytest.mark.parametrize("name", sorted(set(CONCRETE) - COMBINATIONS))
def test_conformance(name):
    check_callback(lambda: CONCRETE[name](**ARGUMENTS.get(name, {})))


@pytest.mark.parametrize("name", sorted(COMBINATIONS))
def test_conformance_of_combinations(name):
    def make():
        return CONCRETE[name](
            ritz.callbacks.EarlyStopping(patience=2),
            ritz.callbacks.ConvergenceStopping(1.3, patience=1),
        )

    check_callback(make)


def test_the_check_finds_a_callback_that_forgets():
    class Forgetful(AbstractCallback):
        count = 0

        def before_parameter_update(self, step, log_data, driver):
            self.count += 1
            log_data["count"] = self.count

    with pytest.raises(AssertionError, match="goes on differently"):
        check_callback(Forgetful)


def test_the_check_finds_a_state_without_a_format():
    class Odd(AbstractCallback):
        def state_dict(self):
            return {"f": print}

    with pytest.raises(AssertionError, match=r"Odd.f is .*, which a checkpoint cannot hold"):
        check_callback(Odd)
