"""A callback may put another update in place of the computed one, if it can be applied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.callbacks import LambdaCallback
from ritz.testing import QuadraticDriver
from tests.driver.noisy import NoisyDriver

HOOKS = ["on_compute_update_end", "before_parameter_update"]
WRONG = {
    "structure": lambda u: {"w": u},
    "nothing": lambda u: None,
    "shape": lambda u: u[:1],
    "number": lambda u: 1.0,
    "complex": lambda u: 1j * u,
    "text": lambda u: "half",
}


def run(make, hook, change, n_iter=3):
    def act(step, log_data, driver):
        if step == 1:
            driver.update = change(driver.update)

    driver = make()
    driver.run(n_iter, callback=LambdaCallback(**{hook: act}), show_progress=False)
    return driver


@pytest.mark.parametrize("make", [QuadraticDriver, NoisyDriver])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("wrong", WRONG)
def test_an_update_that_cannot_be_applied_is_refused_where_it_is_set(make, hook, wrong):
    with pytest.raises(ValueError, match=r"driver\.update was set to .* is needed") as caught:
        run(make, hook, WRONG[wrong])
    assert "act" in [entry.name for entry in caught.traceback]


def test_the_message_names_what_was_given_and_what_is_needed():
    with pytest.raises(
        ValueError, match=r"the array is float64\(1,\), but float64\(2,\) is needed"
    ):
        run(QuadraticDriver, HOOKS[0], WRONG["shape"])
    with pytest.raises(ValueError, match=r"{'w': \*}.*, but PyTreeDef\(\*\) is needed"):
        run(QuadraticDriver, HOOKS[0], WRONG["structure"])


@pytest.mark.parametrize("make", [QuadraticDriver, NoisyDriver])
@pytest.mark.parametrize("kind", [np.float32, np.float16, jnp.bfloat16, np.int8, None])
def test_numbers_of_another_precision_may_be_given(make, kind):
    driver = run(make, HOOKS[0], lambda u: u if kind is None else np.zeros(u.shape, kind))
    assert driver.step_count == 3


def test_nothing_is_checked_where_nothing_is_assigned(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr("ritz.driver.driver_view.check_update", fail)
    for make in (QuadraticDriver, NoisyDriver):
        make().run(3, callback=LambdaCallback(on_step_end=lambda *_: None), show_progress=False)
    with pytest.raises(AssertionError):
        run(QuadraticDriver, HOOKS[0], jax.numpy.asarray)
