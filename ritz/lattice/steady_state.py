"""Steady states of open systems."""

from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import optax
from jaxtyping import Array, Complex
from netket.operator import AbstractSuperOperator, LocalLiouvillian, LocalOperatorJax
from typing_extensions import override

from ritz.checks import named
from ritz.driver.signatures import suggests_names
from ritz.lattice.matrix_elements import hermitian
from ritz.lattice.observables.estimators import check_observable
from ritz.lattice.operators import check_operator
from ritz.lattice.vmc import DEFAULT_CONTROL, VMC
from ritz.types import Row
from ritz.updates import AbstractUpdateRule
from ritz.updates.step_control import StepControl


class SteadyState(VMC):
    """Finds the steady state of a Lindbladian L: VMC in the doubled space with L^+ L.

    A density matrix rho is a vector |rho> there, with amplitudes rho(x, y). <rho|L^+ L|rho> /
    <rho|rho> is zero for the steady state, and positive for others: Vicentini et al., Phys. Rev.
    Lett. 122, 250503 (2019). It is `LdagL` in rows. Its local values are those of the operator
    L^+ L, which all vanish at the steady state, as NetKet's |L rho|^2 do; a sample has as many
    connected configurations as L^+ L, about the square of those of L.

    `obs` of `run` takes operators on the physical space, of which it gives Tr(O rho) / Tr(rho), for
    a full sum exactly; nothing is estimated besides `LdagL` in the compiled step.

    Args:
        lindbladian: NetKet's `LocalLiouvillian`, of operators that have a form as `LocalOperator`.
        optimizer: An optax transformation; a number or schedule stands for `optax.sgd` with it.
        variational_state: NetKet's `MCMixedState`, such as of `nk.models.NDM`, or a `FullSumState`
            on the space of the Lindbladian, `lindbladian.hilbert`.
        update: A rule of `ritz.updates`, see `VMC`.
        mode: See `VMC`.
        chunk_size_bwd: How many samples are differentiated at once.
        seed: Seed of the random numbers in update rules.
        single_scores: Whether derivatives are computed in single precision, see `VMC`.
        step_control: Bounds on the steps, see `VMC`; None for none.
        blas_threads: Number of threads that BLAS may use during runs.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If Lindbladian and state live on different spaces, or the Hamiltonian of the
            Lindbladian is not Hermitian.
    """

    takes_mixed = True

    @suggests_names
    def __init__(
        self,
        lindbladian: LocalLiouvillian,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule,
        *,
        variational_state: nk.vqs.MCMixedState | nk.vqs.FullSumState,
        update: AbstractUpdateRule | None = None,
        mode: str | None = None,
        chunk_size_bwd: int | None = None,
        seed: int = 0,
        single_scores: bool = False,
        step_control: StepControl | None = DEFAULT_CONTROL,
        blas_threads: int | None = 1,
    ):
        super().__init__(
            squared(lindbladian),
            optimizer,
            variational_state=variational_state,
            update=update,
            mode=mode,
            chunk_size_bwd=chunk_size_bwd,
            seed=seed,
            single_scores=single_scores,
            step_control=step_control,
            local_updates=False,
            blas_threads=blas_threads,
            loss_name="LdagL",
        )
        self.lindbladian = lindbladian

    @property
    def _physical(self) -> Any:
        return self.state.hilbert.physical

    def density_matrix(self) -> Complex[np.ndarray, "n_states n_states"]:
        """The present density matrix with trace one, summed over all configurations.

        Rows and columns are those of `lindbladian.hilbert_physical.all_states()`.
        """
        matrix = _full(self.state).to_array().reshape(2 * (self._physical.n_states,))
        return np.asarray(matrix / jnp.trace(matrix))

    def _log_additional_data(self, log_data: Row) -> None:
        super()._log_additional_data(log_data)
        log_data.pop("v_score", None)  # it compares with an energy scale, of which there is none

    @override
    def check_observable(self, observable: object) -> None:
        check_operator(observable)
        check_observable(observable, self._physical)

    @override
    def _estimate_one(self, observable: Any, fullsum: bool) -> Any:
        if self._sums or fullsum:
            matrix: Any = observable.to_dense()
            return nk.stats.Stats(
                mean=np.trace(np.asarray(matrix) @ self.density_matrix()),
                error_of_mean=0.0,  # pyright: ignore
            )
        return jax.device_get(self.state.expect(observable))


def _full(state: Any) -> nk.vqs.FullSumState:
    """A state's sum over all configurations."""
    if isinstance(state, nk.vqs.FullSumState):
        return state
    return nk.vqs.FullSumState(state.hilbert, state.model, variables=state.variables)


def superoperator(lindbladian: LocalLiouvillian) -> LocalOperatorJax:
    """A Lindbladian as an operator with local terms in the doubled space.

    L = -i H' rho + i rho H'^+ + sum_k J_k rho J_k^+ with H' = H - i/2 sum_k J_k^+ J_k; operators
    from the left act on the first half of the sites, those from the right, conjugated, on the
    second.

    Raises:
        TypeError: If it is no `LocalLiouvillian` of local operators.
        ValueError: If its Hamiltonian is not Hermitian.
    """
    if not isinstance(lindbladian, LocalLiouvillian):
        instead = (
            " (other super-operators have no local terms)"
            if isinstance(lindbladian, AbstractSuperOperator)
            else ""
        )
        raise TypeError(
            "lindbladian must be a netket.operator.LocalLiouvillian(hamiltonian, jump_operators), "
            f"but {lindbladian!r} was given{instead}."
        )
    own = lindbladian.hamiltonian
    named("lindbladian", lambda: hermitian(own, own.hilbert))
    hilbert, effective = lindbladian.hilbert, lindbladian.hamiltonian_nh
    left, right = (_on_half(hilbert, effective, side) for side in (0, 1))
    total: Any = -1j * left + 1j * right
    for jump in lindbladian.jump_operators:
        total = total + _on_half(hilbert, jump, 0) @ _on_half(hilbert, jump, 1)
    return total


def squared(lindbladian: LocalLiouvillian) -> LocalOperatorJax:
    """L^+ L as an operator with local terms in the doubled space.

    Raises:
        TypeError: If `lindbladian` is no `LocalLiouvillian`.
    """
    whole: Any = superoperator(lindbladian)
    adjoint = whole.conjugate(concrete=True).transpose(concrete=True)
    return adjoint._op__matmul__(whole)  # `@` may stay lazy, which has no JAX form


def _on_half(hilbert: Any, operator: Any, side: int) -> Any:
    """An operator on the physical space, on the left or, conjugated, on the right of rho."""
    shift = side * hilbert.physical.size

    def turned(values: Array) -> np.ndarray:
        array = np.asarray(values.todense() if hasattr(values, "todense") else values)  # pyright: ignore
        return (np.conj(array) if side else array).astype(complex)

    return LocalOperatorJax(
        hilbert,
        [turned(matrix) for matrix in operator.operators],
        [[int(site) + shift for site in sites] for sites in operator.acting_on],
        constant=complex(turned(operator.constant)),
        dtype=complex,
    )
