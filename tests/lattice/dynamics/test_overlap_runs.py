"""Losses with overlaps on the run loop: blocks, hooks and checkpoints."""

import jax
import numpy as np
import pytest

from ritz.checkpoint import Checkpoint
from ritz.lattice import VMC, Infidelity
from ritz.lattice.overlaps.kernel import OverlapCarry
from ritz.testing import check_driver
from ritz.updates import SR
from tests.driver.tools import at, raising
from tests.lattice.dynamics.systems import ISING, full_state, mc_state
from tests.lattice.models import run

pytestmark = [pytest.mark.netket, pytest.mark.medium]

RULE = SR(1e-2)


def infidelity(make=mc_state):
    state = make(seed=2)
    return Infidelity(make(seed=1), 0.05, variational_state=state, update=RULE, mode="holomorphic")


def excited():
    return VMC(
        ISING, 0.05, variational_state=full_state(seed=2), update=RULE, mode="holomorphic",
        orthogonal_to=[full_state(seed=1)], penalty=3.0,
    )  # fmt: skip


@pytest.mark.parametrize("make", [infidelity, excited], ids=["samples", "full sum"])
def test_drivers_conform(make):
    check_driver(make)


@pytest.mark.bits
def test_a_resumed_run_is_the_uninterrupted_one():
    """With the chains of the target, which are part of the checkpoint."""

    def optimise(folder, crash=-1):
        driver = infidelity()
        end = at(crash, raising(ArithmeticError()), "on_step_start")
        run(driver, 8, callback=[Checkpoint(folder, every_steps=3), end], resume=True)
        return jax.tree.leaves(driver.parameters)

    whole = optimise("whole")
    with pytest.raises(ArithmeticError):
        optimise("other", crash=5)
    for a, b in zip(whole, optimise("other"), strict=True):
        np.testing.assert_array_equal(a, b)


def chains_of(driver):
    own, (target,) = driver.carry
    return [np.asarray(one.sampler_state.σ) for one in (own, target)]


def test_chains_of_targets_are_burnt_in():
    """As the state's own: to the samples that so many steps without updates lead to."""
    burnt, walked = infidelity(), infidelity()
    before = chains_of(burnt)[1]
    burnt.burn_in(3)
    for _ in range(3):
        kernel, (own, (target,)) = walked.kernel, walked.carry
        target = kernel.targets[0].kernel.sample(target)[0]
        walked.carry = OverlapCarry(kernel.inner.sample(own)[0], (target,))
    for a, b in zip(chains_of(burnt), chains_of(walked), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(before != chains_of(burnt)[1])


def test_burning_in_leaves_full_sums_as_they_are():
    driver = excited()
    before = driver.carry.targets
    driver.burn_in(3)
    assert driver.carry.targets[0] is before[0]


def test_the_target_is_left_as_it_was():
    target = mc_state(seed=1)
    before = jax.tree.leaves((target.parameters, target.sampler_state.rng))
    driver = Infidelity(target, 0.05, variational_state=mc_state(seed=2), mode="holomorphic")
    run(driver, 3)
    after = jax.tree.leaves((target.parameters, target.sampler_state.rng))
    assert all(a is b for a, b in zip(before, after, strict=True))
