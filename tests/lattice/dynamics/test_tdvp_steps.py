"""What rows of a time evolution tell of its steps: residuals, errors, and sizes around stops."""

import numpy as np
import pytest

from ritz.loggers import RuntimeLog
from tests.lattice.dynamics.systems import HILBERT, ISING, full_state, infidelity, products, tdvp

pytestmark = pytest.mark.netket


def rows(driver, T, **options):
    log = RuntimeLog()
    driver.run(T, out=log, show_progress=False, **options)
    return {name: np.asarray(log.data[name].values) for name in log.data if name != "Energy"}


@pytest.mark.parametrize("factor", [-1j, -1], ids=["real", "imaginary"])
@pytest.mark.medium
def test_the_residual_is_what_the_tangent_space_misses(factor):
    state = full_state(degree=1, scale=0.4)
    scores = np.asarray(products(HILBERT.all_states(), 1))
    psi = state.to_array()
    weights = np.abs(psi) ** 2
    local = ISING.to_dense() @ psi / psi
    root = np.sqrt(weights)[:, None]
    columns = root * (scores - weights @ scores)
    target = root[:, 0] * factor * (local - weights @ local)
    nearest = np.linalg.lstsq(columns, target, rcond=None)[0]
    missed = np.linalg.norm(columns @ nearest - target) ** 2 / np.linalg.norm(target) ** 2
    assert 0.05 < missed < 0.95
    propagation = "real" if factor == -1j else "imaginary"
    driver = tdvp(state, dt=1e-3, diag_shift=0.0, propagation=propagation)
    np.testing.assert_allclose(rows(driver, 1e-3)["residual"][0], missed, rtol=1e-6)


def states_after(integrator, dt):
    state = full_state()
    tdvp(state, dt=dt, integrator=integrator, adaptive=False).run(dt, show_progress=False)
    return state


@pytest.mark.parametrize("norm", ["qgt", "euclidean"])
@pytest.mark.medium
def test_the_error_of_a_step_is_the_distance_of_two_methods(norm):
    dt = 0.01
    heun, euler = (states_after(integrator, dt) for integrator in ("Heun", "Euler"))
    if norm == "qgt":
        distance = np.sqrt(infidelity(heun.to_array(), euler.to_array()))
    else:
        distance = np.linalg.norm(heun.parameters["w"] - euler.parameters["w"])
    driver = tdvp(dt=dt, integrator="RK12", adaptive=False, error_norm=norm)
    np.testing.assert_allclose(rows(driver, dt)["step_error"][0], distance, rtol=0.02)


def test_steps_that_a_stop_cuts_short_leave_the_later_ones_as_they_were():
    options = {"integrator": "RK23", "rtol": 1e-4, "dt": 0.02}
    free = rows(tdvp(**options), 0.8)["dt"]
    found = rows(tdvp(**options), 0.8, tstops=[0.3, 0.3002])
    after = found["dt"][found["t"] > 0.3001][:-2]  # the last one is cut at the end
    assert np.min(after) > 0.8 * np.min(free[free > 0][2:-1])


def test_stops_may_miss_the_ends_by_rounding():
    times = np.arange(1, 4) * 0.1
    assert times[-1] > 0.3
    driver = tdvp(dt=0.05)
    found = rows(driver, 0.3, tstops=times)["t"]
    assert np.all([np.any(np.abs(found - t) < 1e-12) for t in times]) and found[-1] == driver.t
    for _ in range(3):
        driver.run(0.1, show_progress=False)
    driver.run(0.1, tstops=[0.6, 0.65], show_progress=False)
    with pytest.raises(ValueError, match="between the present time"):
        driver.run(0.1, tstops=[0.69])
    with pytest.raises(TypeError, match="list of times"):
        driver.run(0.1, tstops=[0.75j])
