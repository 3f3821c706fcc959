"""Every exported callback passes the conformance check; a new one is found here by itself."""

import jax
import pytest

import ritz.callbacks
from ritz.callbacks import AbstractCallback, StopCondition, never_live
from ritz.testing import check_callback


def parameter_sum(parameters):
    return sum(float(leaf.sum()) for leaf in jax.tree.leaves(parameters))


ARGUMENTS = {
    "ConvergenceStopping": {"target": 1.2, "patience": 1, "smoothing_window": 2},
    "EarlyStopping": {"patience": 2},
    "LambdaCallback": {"on_step_end": lambda step, log_data, driver: None},
    "LivePlot": {"path": "live.png"},
    "Observables": {"observables": {"sum": parameter_sum}, "interval": 2},
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


def test_the_check_finds_a_callback_that_takes_parameters_for_an_array():
    class Norm(AbstractCallback):
        def before_parameter_update(self, step, log_data, driver):
            log_data["norm"] = float((driver.parameters**2).sum())

    with pytest.raises(AssertionError, match="assumes that the parameters are one array.*dict"):
        check_callback(Norm)


def test_the_check_finds_a_callback_that_needs_statistics_and_does_not_say_so():
    class Precision(AbstractCallback):
        def before_parameter_update(self, step, log_data, driver):
            log_data["precision"] = log_data["loss"].error_of_mean

    with pytest.raises(AssertionError, match="assumes statistics of the loss.*a number"):
        check_callback(Precision)


def test_the_check_says_what_it_needs():
    class Reads(AbstractCallback):
        def before_parameter_update(self, step, log_data, driver):
            self.seen = log_data["structures"]

    with pytest.raises(TypeError, match=r"a new Reads each time, not one Reads: .*lambda: Re"):
        check_callback(Reads())
    with pytest.raises(AssertionError, match="reads 'structures' of a row, .* give make_driver"):
        check_callback(Reads)


def test_a_callback_may_refuse_a_loss_without_statistics():
    class Refusing(AbstractCallback):
        is_live = never_live

        def before_parameter_update(self, step, log_data, driver):
            if not hasattr(log_data["loss"], "error_of_mean"):
                raise ValueError("a loss with an error is needed")

    check_callback(Refusing)
