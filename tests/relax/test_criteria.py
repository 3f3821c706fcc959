"""Criteria on arrays, and hooks as stop conditions of any driver."""

import types

import numpy as np
import pytest

from ritz.driver import AbstractDriver
from ritz.relax import ConvergenceHook, Criterion
from ritz.testing import QuadraticDriver, check_callback

ATOMS = np.array([[True, True, True], [True, False, False]])


def forces(*rows):
    """Forces of two structures with 3 atoms and 1; what is in the empty places must not matter."""
    array = np.full((2, 3, 3), 9.0)
    array[0], array[1, 0] = np.array(rows[:3]), rows[3]
    return array


SMALL, LARGE = [0.01, 0, 0], [-10.0, 0, 0]


@pytest.mark.parametrize(
    ("criterion", "rows", "met"),
    [
        ({"reduce_op": "norm"}, [SMALL, SMALL, SMALL, SMALL], [True, True]),
        ({"reduce_op": "norm", "reduce_dims": -1}, [SMALL, LARGE, SMALL, SMALL], [False, True]),
        ({"reduce_op": "norm", "reduce_dims": 1}, [SMALL, SMALL, SMALL, LARGE], [True, False]),
        ({"reduce_op": "max"}, [SMALL, LARGE, SMALL, SMALL], [False, True]),
        ({"reduce_op": "max", "signed": True}, [SMALL, LARGE, SMALL, SMALL], [True, True]),
        ({"reduce_op": "min"}, [LARGE, LARGE, LARGE, LARGE], [True, True]),
        ({"reduce_op": "mean"}, [[0.1, 0, 0]] * 3 + [[0.3, 0, 0]], [True, False]),
        ({"reduce_op": "sum"}, [[0.03, -0.03, 0]] * 3 + [SMALL], [False, True]),
        ({}, [SMALL, LARGE, SMALL, SMALL], [False, True]),
        ({"signed": True}, [[-1, -1, -1]] * 3 + [[-1, 1, -1]], [True, False]),
    ],
)
def test_reductions_of_what_each_atom_has(criterion, rows, met):
    made = Criterion.of({"key": "forces", "threshold": 0.05, **criterion})

    found, failed = made.evaluate(forces(*rows), ATOMS)

    assert found.tolist() == met
    assert not failed.any()


def test_what_each_structure_has():
    stress = np.zeros((2, 3, 3))
    stress[1, 0, 1] = -1.0
    norm = Criterion("stress", 0.5, "norm", (-2, -1))
    assert norm.evaluate(stress)[0].tolist() == [True, False]
    assert Criterion("stress", 0.5).evaluate(stress)[0].tolist() == [True, False]
    assert Criterion("stress", 0.5, "norm", (1, 2)).evaluate(stress)[0].tolist() == [True, False]
    change = np.array([-1e-7, -1.0])
    assert Criterion("energy_change", 1e-6).evaluate(change)[0].tolist() == [True, False]
    signed = Criterion("energy_change", -0.5, signed=True)
    assert signed.evaluate(change)[0].tolist() == [False, True]


def test_nan_fails_and_infinity_has_not_converged():
    found, failed = Criterion("fmax", 0.05).evaluate(np.array([np.nan, np.inf, 0.0]))
    assert found.tolist() == [False, False, True]
    assert failed.tolist() == [True, False, False]
    rows = forces(SMALL, [np.nan, 0, 0], SMALL, SMALL)
    found, failed = Criterion("forces", 0.05, "max").evaluate(rows, ATOMS)
    assert (found.tolist(), failed.tolist()) == ([False, True], [True, False])


def test_custom_op_decides_alone():
    def spread(positions):
        assert positions.shape == (2, 3, 3) and np.all(positions[1, 1:] == 0)
        return np.ptp(positions, axis=(1, 2)) < 5

    made = Criterion.of({"key": "positions", "threshold": 0.0, "custom_op": spread})
    assert made.evaluate(forces(SMALL, LARGE, SMALL, SMALL), ATOMS)[0].tolist() == [False, True]
    Criterion.of({"key": "positions", "custom_op": spread})  # a threshold has no meaning here
    wrong = Criterion("fmax", 0.0, custom_op=lambda x: x[0] < 1)
    with pytest.raises(ValueError, match=r"booleans of shape \(2,\)"):
        wrong.evaluate(np.zeros(2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"key": "fmax", "treshold": 0.1}, r"no field 'treshold' \(did you mean 'threshold'\?\)"),
        ({"key": "fmax"}, "lacks threshold"),
        ({"threshold": 0.1}, "lacks key"),
        ({"key": "fmax", "threshold": "low"}, "must be a number, but 'low'"),
        ({"key": "fmax", "threshold": float("nan")}, "must be a number"),
        ({"key": "fmax", "threshold": -1.0}, "signed=True"),
        ({"key": "fmax", "threshold": 1, "reduce_op": "median"}, "one of min, max, norm"),
        ({"key": "forces", "threshold": 1, "reduce_dims": 0}, "other than 0"),
    ],
)
def test_wrong_criteria_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ConvergenceHook([given])


def test_dimensions_that_are_not_there():
    with pytest.raises(ValueError, match="leave reduce_op out"):
        Criterion("fmax", 0.1, "norm").evaluate(np.zeros(2))
    with pytest.raises(ValueError, match="can be reduced: 1, -1"):
        Criterion("forces", 0.1, "norm", -2).evaluate(np.zeros((2, 3, 3)), ATOMS)


def test_hooks_are_checked_and_defaults_are_those_of_the_specification():
    assert ConvergenceHook().criteria == (Criterion("fmax", 0.05),)
    assert ConvergenceHook.from_fmax(0.01, source_status=0, target_status=1).rule.target == 1
    assert ConvergenceHook.of({"criteria": [{"key": "fmax", "threshold": 0.01}]}).criteria
    assert repr(ConvergenceHook([Criterion("fmax", 1), Criterion("energy", 2)], mode="any")) == (
        "ConvergenceHook(fmax <= 1 or energy <= 2)"
    )
    for wrong, message in [
        ({"criteria": []}, "empty"),
        ({"mode": "most"}, "'all' or 'any'"),
        ({"patience": -1}, "patience"),
        ({"frequency": 0}, "frequency"),
        ({"source_status": 1.5}, "source_status"),
        ({"criterion": []}, "did you mean 'criteria'"),
    ]:
        with pytest.raises(ValueError, match=message):
            ConvergenceHook.of(wrong)
    with pytest.raises(TypeError, match="a dict such as"):
        ConvergenceHook([0.05])
    with pytest.raises(TypeError, match="takes a ConvergenceHook"):
        ConvergenceHook.of(0.05)


# As a stop condition.


class Falling(AbstractDriver):
    """Its loss halves at each step; its state has an array of two numbers."""

    def __init__(self, losses=None):
        super().__init__(types.SimpleNamespace(parameters=np.ones(2), spread=np.ones(2)), "Energy")
        self._losses = losses

    def reset_step(self):
        pass

    def compute_loss_and_update(self):
        loss = 0.5**self.step_count if self._losses is None else self._losses[self.step_count]
        return loss, self.state.parameters / 2

    def update_parameters(self, update):
        self.state.parameters = self.state.parameters - update
        self.state.spread = self.state.spread * [0.5, 0.25]


def stopped_at(hook, driver=None, n=30):
    driver = driver or Falling()
    driver.run(n, callback=hook, show_progress=False)
    return driver.step_count


def test_a_logged_quantity_stops_any_driver():
    assert stopped_at(ConvergenceHook({"key": "Energy", "threshold": 0.1})) == 4
    assert stopped_at(ConvergenceHook({"key": "Energy", "threshold": 0.1}, patience=2)) == 6
    assert stopped_at(ConvergenceHook({"key": "Energy", "threshold": 0.1}, frequency=5)) == 5


def test_a_change_stops_any_driver():
    """|E_k - E_(k-1)| = 2^-k."""
    assert stopped_at(ConvergenceHook({"key": "energy_change", "threshold": 1e-3})) == 10
    assert stopped_at(ConvergenceHook({"key": "Energy_change", "threshold": 1e-3})) == 10
    assert stopped_at(ConvergenceHook({"key": "energy_change", "threshold": 1e-3}), n=5) == 5


def test_a_quantity_of_the_state_stops_when_all_its_entries_have_converged():
    driver = Falling()
    assert stopped_at(ConvergenceHook({"key": "spread", "threshold": 0.1}), driver) == 4
    assert "converged: spread <= 0.1" in driver.stop_message


def test_both_and_either():
    slow, quick = {"key": "Energy", "threshold": 0.01}, {"key": "Energy", "threshold": 0.1}
    assert stopped_at(ConvergenceHook([slow, quick])) == 7
    assert stopped_at(ConvergenceHook([quick, {"key": "spread", "threshold": 0.01}])) == 7
    assert stopped_at(ConvergenceHook([slow, quick], mode="any")) == 4
    assert stopped_at(ConvergenceHook(slow) | ConvergenceHook(quick)) == 4


def test_nan_stops_and_is_said():
    driver = Falling([1.0, 0.5, np.nan, 0.1])
    assert stopped_at(ConvergenceHook({"key": "Energy", "threshold": 0.2}), driver, 4) == 2
    assert "failed: Energy is NaN" in driver.stop_message


def test_a_quantity_that_is_nowhere():
    with pytest.raises(ValueError, match="'fmax' is not logged; this run logs: Energy"):
        Falling().run(3, callback=ConvergenceHook(), show_progress=False)


def test_conformance():
    for key, threshold in (("loss.mean", 1.5), ("energy_change", 0.1)):
        criterion = {"key": key, "threshold": threshold}
        check_callback(lambda c=criterion: ConvergenceHook(c, patience=1), QuadraticDriver)
