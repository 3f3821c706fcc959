"""Time evolution against exact states, and against the equation of motion typed out."""

from typing import Any

import netket as nk
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ritz.lattice import TDVP
from ritz.lattice.dynamics.equation import damped
from ritz.lattice.models import MarshallSign, Pfaffian, SlaterBackflow
from ritz.lattice.systems import Hubbard
from ritz.updates import Cholesky, PseudoInverse
from tests.lattice.dynamics.systems import (
    HILBERT,
    ISING,
    MX,
    SHIFT,
    evolved,
    full_state,
    infidelity,
    mc_state,
    mean_of,
    products,
    tdvp,
)
from tests.lattice.models import run

pytestmark = pytest.mark.netket

FACTORS = {"real": -1j, "imaginary": -1.0}


def reference(state, t, propagation):
    """The parameters after `t`, from the equation of motion typed out and solved by SciPy."""
    matrix, start = ISING.to_dense(), np.asarray(state.parameters["w"]).astype(complex)
    rows = np.asarray(products(HILBERT.all_states(), state.model.degree))

    def slope(_, vector):
        psi = np.exp(rows @ vector)
        p = abs(psi) ** 2 / np.linalg.norm(psi) ** 2
        centred = rows - p @ rows
        s = centred.conj().T @ (p[:, None] * centred) + SHIFT * np.eye(len(vector))
        force = centred.conj().T @ (p * (matrix @ psi / psi))
        return np.linalg.solve(s, FACTORS[propagation] * force)

    return solve_ivp(slope, (0, t), start, rtol=1e-11, atol=1e-12).y[:, -1]


@pytest.mark.medium
@pytest.mark.parametrize(("integrator", "order"), [("Heun", 2), ("RK4", 4)])
def test_orders_of_convergence_against_the_exact_equation(integrator, order):
    errors = []
    for dt in (0.1, 0.05):
        state = full_state()
        exact = reference(state, 0.6, "real")
        driver = tdvp(state, dt=dt, integrator=integrator)
        driver.run(0.6, show_progress=False)
        assert driver.t == 0.6 and driver.step_count == round(0.6 / dt)
        errors.append(np.abs(state.parameters["w"] - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


@pytest.mark.medium
@pytest.mark.parametrize("mode", ["holomorphic", "complex"])
def test_adaptive_steps_follow_the_exact_equation_in_both_modes(mode):
    """In imaginary time, where the holomorphic equation is that of real and imaginary parts."""
    state = full_state()
    exact = reference(state, 0.4, "imaginary")
    driver = tdvp(state, integrator="RK45", rtol=1e-8, propagation="imaginary", mode=mode)
    driver.run(0.4, show_progress=False)
    np.testing.assert_allclose(state.parameters["w"], exact, rtol=0, atol=1e-6)


@pytest.mark.medium
def test_a_complete_state_is_evolved_exactly():
    """With all correlations there is no residual, and energies and observables are exact."""
    state = full_state(degree=4)
    start = state.to_array()
    driver = TDVP(
        ISING, state, integrator="RK45", rtol=1e-6, mode="holomorphic", observables={"mx": MX}
    )
    data = run(driver, 0.5, tstops=[0.2, 0.31])
    data2 = run(driver, 0.3)  # times add up
    assert driver.t == pytest.approx(0.8) and driver.stop_reason.name == "FINISHED"
    times = np.concatenate([data["t"].values[:-1], data2["t"].values])
    assert {0.0, 0.2, 0.31, 0.5} <= set(times) and times[-1] == driver.t
    mx = np.concatenate([data["mx"]["Mean"][:-1], data2["mx"]["Mean"]])
    exact = [mean_of(MX, evolved(start, t)) for t in times]
    np.testing.assert_allclose(mx, exact, rtol=0, atol=1e-4)
    assert np.ptp(np.real(data["Energy"]["Mean"])) < 1e-4
    assert max(data["residual"].values) < 1e-10
    assert infidelity(state.to_array(), evolved(start, driver.t)) < 1e-7
    assert driver.step_count == len(times) - 1
    assert data["t"].values[1] == data["dt"].values[0]


def test_imaginary_time_ends_in_the_ground_state():
    """From a real wave function, whose mode is "real" by default."""
    state = full_state(degree=4, dtype=float)
    driver = TDVP(ISING, state, integrator="RK45", propagation="imaginary")
    assert driver.mode == "real"
    driver.run(20.0, show_progress=False)
    exact = nk.exact.lanczos_ed(ISING)[0]
    assert 0 <= state.expect(ISING).mean.real - exact < 1e-5


@pytest.mark.medium
def test_errors_stay_within_the_tolerance_and_rejected_steps_are_counted():
    driver = tdvp(integrator="RK12", dt=0.5, rtol=1e-3)
    data = run(driver, 0.3)
    errors, steps = data["step_error"].values, data["dt"].values
    assert data["rejected"].values[0] > 0 and steps[0] < 0.5
    assert max(errors) <= 1e-3
    assert "suspect" not in data
    driver = tdvp(integrator="RK12", dt=0.1, rtol=1e-9, dt_limits=(0.05, 0.1))
    data = run(driver, 0.15)
    np.testing.assert_allclose(data["dt"].values, [0.05, 0.05, 0.05, 0], atol=1e-15)
    assert set(data["suspect"].values[:3]) == {"tolerance"}


def test_no_step_leaves_its_bounds():
    """Neither the first one, nor one that is set, nor one with a factor."""
    driver = tdvp(integrator="RK12", dt=0.5, rtol=1.0, dt_limits=(0.04, 0.06))
    steps = [*run(driver, 0.3)["dt"].values[:-1]]
    driver.dt = 0.5
    assert driver.dt == 0.06
    steps += [*run(driver, 0.12)["dt"].values[:-1]]
    driver.rate_scale = 10.0
    steps += [*run(driver, 0.12)["dt"].values[:-1]]
    np.testing.assert_allclose(steps, 0.06, rtol=1e-6)
    driver.rate_scale = 0.1
    np.testing.assert_allclose(run(driver, 0.08)["dt"].values[:-1], 0.04, rtol=1e-6)


@pytest.mark.medium
def test_samples_give_the_directions_of_full_sums():
    """One Euler step of many samples, within a few standard errors of the exact one."""
    many, full = mc_state(n_samples=2**14), full_state()
    full.parameters = many.parameters
    start = np.asarray(full.parameters["w"])
    for state in (many, full):
        tdvp(state, integrator="Euler", dt=0.01).run(0.01, show_progress=False)
    exact, found = (np.asarray(state.parameters["w"]) - start for state in (full, many))
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


@pytest.mark.medium
def test_options_of_steps_and_solvers_take_few_steps_with_samples():
    solver = PseudoInverse(rtol_smooth=1e-4)
    options = {"error_norm": "euclidean", "controller": "I", "snr": 2}
    driver = tdvp(mc_state(), solver=solver, rtol=0.05, integrator="RK12", **options)
    data = run(driver, 0.2)
    assert driver.t == 0.2 and 3 < driver.step_count < 40
    assert np.all(np.isfinite(data["Energy"]["Mean"]))


def test_noisy_forces_are_damped():
    """A force twice its standard error keeps half of its size with snr=2."""
    rng = np.random.default_rng(0)
    rows, noise = rng.standard_normal((400, 3)) / 20, rng.standard_normal(400) / 20
    target = rows @ [0.0, 3.0, 0.1] + noise
    values, vectors = np.linalg.eigh(rows.T @ rows)
    terms = (rows @ vectors) * target[:, None]
    force = terms.sum(axis=0)
    error = np.sqrt((terms**2).sum(axis=0) - force**2 / 400)
    expected = vectors @ (force / values / (1 + (2 * error / abs(force)) ** 6))
    options: Any = {"solver": PseudoInverse(), "shift": 0.0, "snr": 2.0}
    shares = np.full(400, 1 / 400)
    for wide in (False, True):  # more parameters than rows: others that do nothing
        given = np.hstack([rows, np.zeros((400, 500 * wide))])
        found = damped(given, target, **options, shares=shares)
        np.testing.assert_allclose(found[:3], expected, rtol=1e-8)
    # Samples without weight count for nothing.
    longer = damped(
        np.vstack([rows, np.zeros((99, 3))]),
        np.append(target, np.zeros(99)),
        **options,
        shares=np.append(shares, np.zeros(99)),
    )
    np.testing.assert_allclose(longer, expected, rtol=1e-8)
    plain = damped(rows, target, **options, shares=None)
    np.testing.assert_allclose(plain, np.linalg.lstsq(rows, target)[0], rtol=1e-8)


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["MarshallSign", "SlaterBackflow", "Pfaffian"])
def test_phases_that_no_parameter_changes_are_refused_in_real_time(kind):
    """The dtype of log psi is complex, but it is that of signs."""
    if kind == "MarshallSign":
        model = MarshallSign(nk.models.RBM(), nk.graph.Chain(4))
        hamiltonian: Any = nk.operator.Heisenberg(nk.hilbert.Spin(0.5, 4, total_sz=0),
                                                  nk.graph.Chain(4))  # fmt: skip
        hilbert = hamiltonian.hilbert
    else:
        system = Hubbard([2, 2], interaction=4.0)
        hamiltonian, hilbert = system.hamiltonian, system.hilbert
        model = {"SlaterBackflow": SlaterBackflow, "Pfaffian": Pfaffian}[kind](hilbert)
    state = nk.vqs.FullSumState(hilbert, model, seed=1)
    with pytest.raises(ValueError, match="in real time the phase of psi changes, but"):
        TDVP(hamiltonian, state)
    TDVP(hamiltonian, state, propagation="imaginary")


def test_wrong_arguments_say_what_is_allowed():
    sampler = nk.sampler.ExactSampler(HILBERT)
    exact = nk.vqs.MCState(sampler, nk.models.RBM(param_dtype=complex), n_samples=16)
    cases = [
        (ValueError, "integrator must be 'Euler', .* or 'RK45', but 'RK5'", {"integrator": "RK5"}),
        (ValueError, "RK4 has no estimate of its error", {"integrator": "RK4", "adaptive": True}),
        (ValueError, "both 0, which no step can meet", {"rtol": 0.0}),
        (ValueError, "dt_limits must be", {"dt_limits": (0.2, 0.1)}),
        (ValueError, "dt_limits must be", {"dt_limits": (np.nan, 0.1)}),
        (ValueError, "dt_limits must be .* but 0.1 was given", {"dt_limits": 0.1}),
        (ValueError, "dt_limits must be", {"dt_limits": (0.0, 0.1, 0.2)}),
        (ValueError, "dt_limits must be", {"dt_limits": ("0", None)}),
        (ValueError, "bounds the sizes of adaptive steps, but",
         {"dt_limits": (0.0, 0.1), "integrator": "RK4"}),
        (ValueError, "bounds the sizes", {"dt_limits": (0.0, 0.1), "adaptive": False}),
        (ValueError, "t0 must be a finite number, but nan", {"t0": np.nan}),
        (TypeError, "t0 must be a finite number", {"t0": "0"}),
        (ValueError, "dt must be a positive number", {"dt": 0.0}),
        (ValueError, "snr needs solver=PseudoInverse", {"snr": 2.0}),
        (ValueError, "in real time the phase of psi changes",
         {"variational_state": full_state(dtype=float), "mode": "complex"}),
        (ValueError, "ExactSampler cannot; use another", {"variational_state": exact}),
        (ValueError, "'t' is taken", {"observables": {"t": MX}}),
        (TypeError, "did you mean integrator=", {"integrators": "RK4"}),
    ]  # fmt: skip
    for error, match, options in cases:
        given = {"variational_state": full_state(), "solver": Cholesky(), **options}
        with pytest.raises(error, match=match):
            TDVP(ISING, **given)
    driver = tdvp()
    for error, match, options in [
        (ValueError, "tstops must lie between", {"T": 0.1, "tstops": [0.2]}),
        (ValueError, "tstops must lie between", {"T": 0.1, "tstops": [0.01, np.nan, 0.02]}),
        (ValueError, "T must be a number of at least 0", {"T": -1.0}),
        (TypeError, "give the time T", {"n_iter": 3}),
    ]:
        with pytest.raises(error, match=match):
            driver.run(**options)
    with pytest.raises(NotImplementedError, match="no trial loss"):
        driver.kernel.trial(driver.carry, (), driver.parameters)
