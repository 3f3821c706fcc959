"""Operators are refused where their elements show that they are not what they should be."""

import netket as nk
import numpy as np
import pytest
from netket.operator.spin import sigmam, sigmap, sigmax, sigmay, sigmaz

from ritz.lattice import TDVP, VMC, Evaluation, SteadyState, Variance
from ritz.lattice.matrix_elements import check_unitary, hermitian
from ritz.lattice.operators import traceable
from tests.lattice.models import HILBERT, ISING, full_state, mc_state

pytestmark = pytest.mark.netket

LARGE = nk.hilbert.Spin(0.5, 20)
RAISE = [np.array([[0, 1], [0, 0]])]
HERMITIAN = {
    "with its conjugate": lambda hi: sigmap(hi, 0) @ sigmam(hi, 1) + sigmam(hi, 0) @ sigmap(hi, 1),
    "of other sites": lambda hi: (
        nk.operator.LocalOperator(hi, RAISE, [[0]])
        + nk.operator.LocalOperator(hi, [np.kron(RAISE[0].T, np.eye(2))], [[0, 1]])
    ),
    "product": lambda hi: sigmaz(hi, 0) @ sigmax(hi, 1),
    "complex": lambda hi: sigmay(hi, 0) + nk.operator.IsingJax(hi, nk.graph.Chain(hi.size), h=1.0),
    "of Pauli strings": lambda hi: (
        nk.operator.PauliStrings(hi, ["X" * hi.size], [1j])
        @ nk.operator.PauliStrings(hi, ["Z" + "I" * (hi.size - 1)])
    ),
}
OTHERS = {
    "raising": lambda hi: sigmap(hi, 0),
    "imaginary": lambda hi: 1j * sigmax(hi, 0),
    "anticommuting": lambda hi: sigmaz(hi, 0) @ sigmax(hi, 0),
    "complex diagonal": lambda hi: sigmaz(hi, 0) * 1j + sigmax(hi, 1),
    "sum": lambda hi: nk.operator.SumOperator(
        nk.operator.IsingJax(hi, nk.graph.Chain(hi.size), h=1.0), sigmap(hi, 0).to_jax_operator()
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("hilbert", [HILBERT, LARGE], ids=["small", "large"])
def test_hermitian_operators_are_taken_whatever_they_call_themselves(hilbert):
    for make in HERMITIAN.values():
        operator = make(hilbert)
        assert hermitian(operator, hilbert).hilbert == hilbert
    assert not HERMITIAN["of other sites"](hilbert).is_hermitian  # so that elements were looked at


@pytest.mark.medium
@pytest.mark.parametrize("hilbert", [HILBERT, LARGE], ids=["small", "large"])
def test_operators_that_are_not_hermitian_are_refused(hilbert):
    for make in OTHERS.values():
        with pytest.raises(ValueError, match=r"a Hamiltonian must be Hermitian, but .* has <x"):
            hermitian(make(hilbert), hilbert)


@pytest.mark.medium
def test_drivers_refuse_hamiltonians_that_are_not_hermitian_but_no_observables():
    state, lower = full_state("complex"), sigmam(HILBERT, 0)
    for make in (
        lambda: VMC(lower, 0.1, variational_state=state),
        lambda: Evaluation(lower, variational_state=mc_state()),
        lambda: TDVP(lower, state),
    ):
        with pytest.raises(ValueError, match="hamiltonian: a Hamiltonian must be Hermitian"):
            make()
    driver = Evaluation(ISING, variational_state=state, observables={"lower": lower})
    driver.run(1, show_progress=False)
    psi = state.to_array()
    mean = driver.estimate(lower).mean
    assert mean == pytest.approx(np.vdot(psi, lower.to_dense() @ psi), abs=1e-10)
    with pytest.raises(ValueError, match="the operator of a Variance must be Hermitian"):
        Evaluation(ISING, variational_state=state, observables={"a": Variance(lower)})


def test_lindbladians_need_a_hermitian_hamiltonian():
    hilbert = nk.hilbert.Spin(0.5, 2)
    wrong = nk.operator.LocalLiouvillian(sigmap(hilbert, 0), [sigmam(hilbert, 0)])
    state = nk.vqs.FullSumState(wrong.hilbert, nk.models.RBM(param_dtype=complex))
    with pytest.raises(ValueError, match="lindbladian: a Hamiltonian must be Hermitian"):
        SteadyState(wrong, 0.1, variational_state=state)


def unitary(operator, hilbert):
    adjoint = operator.conjugate(concrete=True).transpose(concrete=True)
    check_unitary(traceable(operator, hilbert), traceable(adjoint, hilbert), hilbert)


@pytest.mark.medium
@pytest.mark.parametrize("hilbert", [HILBERT, LARGE], ids=["small", "large"])
def test_unitary_operators_are_known_by_their_products(hilbert):
    def rotation(site, unit):
        return np.cos(0.2) + unit * np.sin(0.2) * sigmax(hilbert, site)

    unitary(rotation(0, 1j) @ rotation(1, -1j), hilbert)
    with pytest.raises(ValueError, match=r"must be unitary, but its rows of .* the overlap 0.389"):
        unitary(rotation(0, 1), hilbert)
    with pytest.raises(ValueError, match=r"a row of its matrix has the norm 2"):
        unitary(2 * sigmax(hilbert, 0), hilbert)
