"""Time evolution on the run loop: blocks, hooks, checkpoints, divergence."""

import jax
import numpy as np
import pytest

from ritz.checkpoint import Checkpoint
from ritz.lattice import TDVP
from ritz.loggers import RuntimeLog
from ritz.testing import check_driver
from ritz.updates import PseudoInverse
from tests.driver.test_exactness import assert_exact
from tests.driver.tools import at, raising
from tests.lattice.dynamics.systems import ISING, full_state, mc_state, tdvp
from tests.lattice.models import run

pytestmark = pytest.mark.netket

SLOW = ISING * 0.02
SOLVER = PseudoInverse(rtol_smooth=1e-3)


def unit_steps(make_state):
    """A driver whose run(n) takes n steps."""
    state = make_state()
    return TDVP(
        SLOW, state, 1.0, integrator="RK12", adaptive=False, mode="holomorphic", solver=SOLVER
    )


@pytest.mark.medium
def test_the_driver_conforms():
    check_driver(lambda: unit_steps(full_state))


@pytest.mark.bits
@pytest.mark.medium
@pytest.mark.parametrize("make_state", [full_state, mc_state], ids=["full sum", "samples"])
def test_blocks_change_nothing(make_state):
    program = {
        "events": [(0, "on_compute_update_end", 3, "reject"),
                   (1, "before_parameter_update", 6, "stop"),
                   (1, "on_compute_update_end", 2, "double")],
        "live": [frozenset(), {2}, frozenset()], "runs": [10, 2], "traced": True,
    }  # fmt: skip
    assert_exact({**program, "speculate": True}, lambda: unit_steps(make_state))


@pytest.mark.bits
@pytest.mark.medium
@pytest.mark.parametrize("make_state", [full_state, mc_state], ids=["full sum", "samples"])
def test_a_resumed_run_is_the_uninterrupted_one(make_state):
    """It ends at the same time, with adaptive steps, a stop in between, and the same bits."""

    def evolve(folder, crash=-1):
        driver, log = tdvp(make_state(), integrator="RK12", rtol=1e-2), RuntimeLog()
        callbacks = [
            Checkpoint(folder, every_steps=3),
            at(crash, raising(ArithmeticError()), "on_step_start"),
        ]
        driver.run(0.4, out=log, callback=callbacks, tstops=[0.3], show_progress=False, resume=True)
        return driver, log

    whole, whole_log = evolve("whole")
    with pytest.raises(ArithmeticError):
        evolve("other", crash=5)
    resumed, log = evolve("other")
    assert resumed.t == whole.t == 0.4 and resumed.dt == whole.dt
    for a, b in zip(*(jax.tree.leaves(d.parameters) for d in (whole, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)
    left = len(log.data["t"].values)
    for name in ("t", "dt", "step_error", "residual"):
        np.testing.assert_array_equal(log.data[name].values, whole_log.data[name].values[-left:])
    assert 0.3 in whole_log.data["t"].values


def test_rows_and_counters_agree_and_the_step_size_can_be_set():
    driver = tdvp(integrator="RK4", dt=0.1)
    data = run(driver, 0.35)
    np.testing.assert_allclose(data["t"].values, [0, 0.1, 0.2, 0.3, 0.35], atol=1e-15)
    np.testing.assert_allclose(data["dt"].values, [0.1, 0.1, 0.1, 0.05, 0], atol=1e-15)
    assert driver.step_count == 4 and driver.t == 0.35 and driver.dt == 0.1
    driver.dt = 0.05
    data = run(driver, 0.1)
    assert data["t"].iters.tolist() == [4, 5, 6] and driver.t == 0.35 + 0.1
    run(driver, 1.0, callback=lambda step, row, driver: step < 8)
    assert driver.step_count == 8 and driver.stop_reason.name == "STOPPED"
    run(driver, 0.0)
    run(driver, 1.0, max_steps=2)
    assert driver.step_count == 10
    times = [info.log_data["t"] for info in driver.steps(0.05)]
    assert times == [driver.t - 0.05]


def test_a_step_that_is_not_finite_ends_the_run_at_the_last_good_state():
    driver = tdvp(integrator="RK4", dt=0.1)
    run(driver, 0.2)
    driver.state.parameters = jax.tree.map(lambda leaf: leaf * np.nan, driver.parameters)
    run(driver, 0.2)
    assert driver.stop_reason.name == "DIVERGED" and driver.t == 0.2


def test_the_progress_bar_counts_time(capsys):
    driver = tdvp(integrator="RK4", dt=0.1, t0=3.0)
    driver.run(0.3, show_progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and "t=3.3" in shown and "Energy=" in shown
