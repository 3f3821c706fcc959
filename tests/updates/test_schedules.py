"""Schedules that cannot be compiled, and numbers that are not allowed."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ritz.updates import MARCH, SPRING, SR, MinSR
from ritz.updates.optimizer_step import as_transformation
from ritz.updates.schedules import check_rate, check_schedule, check_transformation

PARAMS = {"a": jnp.ones(2)}


def branching(step):
    return 0.1 if step < 10 else 0.01


BAD = {
    "if": branching,
    "math": lambda step: math.exp(-step / 10),
    "numpy": lambda step: np.interp(step, [0, 10], [0.1, 0.01]),
    "min": lambda step: min(step, 10) * 0.1,
    "list": lambda step: [0.1, 0.01][step],
    "dict": lambda step: {0: 0.1}.get(step, 0.01),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_schedule_that_cannot_be_compiled(kind):
    schedule = BAD[kind]
    for make, name in (
        (lambda: check_rate("optimizer", schedule), "optimizer"),
        (lambda: SR(schedule), "diag_shift"),
        (lambda: MinSR(schedule), "diag_shift"),
        (lambda: SPRING(momentum=schedule), "momentum"),
        (lambda: SPRING(norm_cap=schedule), "norm_cap"),
        (lambda: MARCH(momentum=schedule), "momentum"),
    ):
        with pytest.raises(
            TypeError, match=rf"{name}: the schedule .*test_schedules.py.*jnp.where"
        ):
            make()


@pytest.mark.parametrize(
    "make",
    [
        optax.sgd,
        lambda rate: optax.chain(optax.clip(1.0), optax.adam(rate)),
        lambda rate: optax.inject_hyperparams(optax.adam)(learning_rate=rate),
    ],
)
def test_within_a_transformation(make):
    with pytest.raises(TypeError, match=r"optimizer: the function branching \(.*test_schedules.py"):
        check_transformation("optimizer", make(branching), PARAMS)
    state = check_transformation("optimizer", optax.adam(0.1), PARAMS)
    assert state[0].count == 0


def test_good_schedules():
    for schedule in (
        optax.exponential_decay(0.1, 10, 0.5),
        optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 20),
        lambda step: jnp.where(step < 10, 0.1, 0.01),
        lambda step: 0.1,
        lambda step: step,
        0,
        np.float32(0.1),
        jnp.asarray(0.1),
    ):
        check_rate("optimizer", schedule)


def test_what_is_no_schedule():
    for value, match in (
        (optax.adam, "takes a number or a function of the step that returns one, but adam"),
        (lambda step: jnp.ones(3), r"returned .*shape=\(3,\)|returned .*float\w*\[3\]"),
        (lambda step: None, "returned None"),
        (lambda: 0.1, "takes the step"),
        ("0.1", "takes a number or a schedule"),
        (None, "takes a number or a schedule"),
        (1j, "takes a number or a schedule"),
    ):
        with pytest.raises(TypeError, match=match):
            check_rate("rate", value)


def test_numbers_that_are_not_allowed():
    for value in (-0.1, np.nan, np.inf, lambda step: -0.1 + 0 * step, lambda step: 1 / step):
        with pytest.raises(ValueError, match="rate must be a finite number of at least 0"):
            check_rate("rate", value)
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), but 1.5 was given"):
        SPRING(momentum=1.5)
    with pytest.raises(ValueError, match="x must be odd, but 2 was given"):
        check_schedule("x", 2, lambda x: x % 2 == 1, "odd")


@pytest.mark.parametrize(
    "optimizer", [optax.lbfgs(), optax.polyak_sgd(), optax.chain(optax.clip(1.0), optax.lbfgs())]
)
def test_optimisers_that_need_the_loss_are_refused(optimizer):
    told = r"^optimizer: this optimiser needs more than the gradient \(value.*Use optax.sgd or"
    with pytest.raises(ValueError, match=told):
        as_transformation(optimizer)


def test_optimisers_for_other_parameters_are_taken():
    labels = {"a": "slow", "b": "fast"}
    both = optax.multi_transform({"slow": optax.sgd(0.1), "fast": optax.adam(0.1)}, labels)
    assert as_transformation(both) is both
