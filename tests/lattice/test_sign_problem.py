"""Positive wave functions of Hamiltonians whose ground state has signs."""

import logging

import netket as nk
import pytest

from ritz.lattice import VMC
from ritz.lattice.models import MarshallSign
from tests.lattice.models import full_state, vmc

pytestmark = pytest.mark.netket


@pytest.mark.medium
@pytest.mark.parametrize(
    ("model", "sign_rule", "expected"),
    [
        (nk.models.RBM(), False, True),
        (nk.models.RBM(), True, False),
        (nk.models.RBM(param_dtype=complex), False, False),
        (MarshallSign(nk.models.RBM(), nk.graph.Chain(4)), False, False),
    ],
)
def test_positive_psi_with_a_sign_problem_is_told_once(model, sign_rule, expected, caplog):
    hilbert = nk.hilbert.Spin(0.5, 4, total_sz=0)
    operator = nk.operator.Heisenberg(hilbert, nk.graph.Chain(4), sign_rule=sign_rule)
    with caplog.at_level(logging.WARNING, "ritz"):
        driver = VMC(operator, 0.1, variational_state=nk.vqs.FullSumState(hilbert, model))
        driver.run(1, show_progress=False)
    told = [one.getMessage() for one in caplog.records if "psi is positive" in one.getMessage()]
    assert len(told) == expected
    assert all("elements such as 2:" in one and "complex_output=True" in one for one in told)


def test_no_sign_problem_without_positive_elements(caplog):
    vmc(full_state())
    assert "psi is positive" not in caplog.text
