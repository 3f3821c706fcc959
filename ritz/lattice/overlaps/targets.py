"""The targets of a driver: states of NetKet, checked, and what is carried of them."""

from collections.abc import Sequence
from typing import Any

import netket as nk
from netket.hilbert import AbstractHilbert
from netket.operator import AbstractOperator, DiscreteOperator

from ritz.checks import check_positive
from ritz.lattice.driver import VariationalState
from ritz.lattice.evaluation import Evaluation
from ritz.lattice.kernels.kernel import LatticeCarry, LatticeKernel
from ritz.lattice.matrix_elements import check_unitary
from ritz.lattice.operators import fingerprint, sparse_matrix, traceable
from ritz.lattice.overlaps.kernel import OverlapCarry, OverlapKernel
from ritz.lattice.overlaps.overlap import AbstractTarget, SampledTarget, SummedTarget
from ritz.lattice.sampling.draws import burnt_in, samples_compiled
from ritz.wording import counted


def identity(hilbert: Any) -> AbstractOperator:
    """The operator one on a space, for losses that are overlaps alone."""
    one: Any = nk.operator.LocalOperator(hilbert, constant=1.0)
    return one.to_jax_operator()


class Targets:
    """States whose overlaps with the driver's state are part of its loss.

    Later changes of the given states have no effect.

    Args:
        name: The argument of the driver, for messages.
        states: `MCState` of NetKet if the driver's is one, `FullSumState` otherwise.
        state: The driver's state.
        weights: Factors of the overlaps in the loss.
        unitary: U, if overlaps are taken with U|phi>.
        control_variate: See `SampledTarget`.
        is_infidelity: Whether the loss is 1 - F.

    Raises:
        TypeError: If a state is of another type.
        ValueError: If a state has another space or another number of samples, a sampler cannot be
            compiled, or the operator is not unitary.
    """

    def __init__(
        self,
        name: str,
        states: Sequence[VariationalState],
        state: Any,
        *,
        weights: Sequence[float],
        unitary: AbstractOperator | None = None,
        control_variate: float | None = None,
        is_infidelity: bool = False,
    ):
        self._weights, self._is_infidelity = tuple(map(float, weights)), is_infidelity
        self._control_variate = control_variate
        for one in (*states, state) if states else ():
            _check(name, one, state)
        hilbert = state.hilbert
        self._drivers = [
            Evaluation(identity(hilbert), variational_state=one, local_updates=False)
            for one in states
        ]
        self._carried = tuple(driver.carry for driver in self._drivers)
        self._unitary = self._adjoint = None
        if unitary is not None:
            self._unitary, self._adjoint = _with_adjoint(unitary, hilbert)
        self._matrix = None
        if isinstance(state, nk.vqs.FullSumState) and self._unitary is not None:
            self._matrix = sparse_matrix(self._unitary)

    def __bool__(self) -> bool:
        return bool(self._drivers)

    def _target(self, driver: Evaluation, chunk_size: int | None) -> AbstractTarget:
        kernel: Any = driver.kernel
        if isinstance(driver.state, nk.vqs.FullSumState):
            return SummedTarget(kernel, kernel.inner.states, self._matrix, chunk_size)
        return SampledTarget(
            kernel, self._unitary, self._adjoint, self._control_variate, chunk_size
        )

    def kernel(self, inner: LatticeKernel) -> OverlapKernel:
        """The kernel of a driver with these targets.

        Args:
            inner: The kernel without them.
        """
        chunk_size = inner.settings.chunk_size
        targets = tuple(self._target(driver, chunk_size) for driver in self._drivers)
        return OverlapKernel(inner, targets, self._weights, self._is_infidelity)

    def carry(self, own: LatticeCarry) -> OverlapCarry:
        """The carry of a driver with these targets.

        Args:
            own: The carry without them.
        """
        return OverlapCarry(own, self._carried)

    def put(self, carry: OverlapCarry) -> LatticeCarry:
        """Store what is carried of the targets, and return the rest."""
        self._carried = carry.targets
        return carry.own

    def burn_in(self, n_steps: int) -> None:
        """Draw the samples of `n_steps` steps of each target and throw them away."""
        self._carried = tuple(
            carried if carried.sampler_state is None else burnt_in(driver.kernel, carried, n_steps)
            for driver, carried in zip(self._drivers, self._carried, strict=True)
        )

    @property
    def settings(self) -> dict[str, object]:
        """Settings on which the results depend: name -> value."""
        return {
            "targets": [driver.settings for driver in self._drivers],
            "target_weights": self._weights,
            "target_operator": None if self._unitary is None else fingerprint(self._unitary),
            "control_variate": self._control_variate,
        }


def _check(name: str, found: Any, state: Any) -> None:
    sums = isinstance(state, nk.vqs.FullSumState)
    kind: Any = nk.vqs.FullSumState if sums else nk.vqs.MCState
    is_mixed = isinstance(found, nk.vqs.MCMixedState)
    if is_mixed or not isinstance(found, kind):
        raise TypeError(
            f"{name} must be of the type of the variational state, a netket.vqs.{kind.__name__}, "
            f"but {found!r} was given; make one with its model and variables."
        )
    if found.hilbert != state.hilbert:
        raise ValueError(
            f"{name} lives on {found.hilbert}, but the variational state on {state.hilbert}; build "
            "both on the same Hilbert space."
        )
    if sums:
        return
    ours, theirs = (int(one.n_samples) for one in (state, found))  # pyright: ignore
    if ours != theirs:
        raise ValueError(
            f"{name} has n_samples={theirs}, but the variational state "
            f"{ours}; samples are taken in pairs, so give both the same number."
        )
    if not samples_compiled(found):
        raise ValueError(
            "samples of several states are drawn within the compiled step, which "
            f"{type(found.sampler).__name__} cannot; use another sampler, such as "
            "ritz.lattice.MetropolisLocal, or states of the type FullSumState."
        )
    if getattr(found.sampler, "machine_pow", 2) != 2:
        raise ValueError(
            f"overlaps need samples of |psi|^2, but a sampler of {name} or of the variational "
            f"state has machine_pow={found.sampler.machine_pow}; use 2."
        )


def _with_adjoint(
    operator: AbstractOperator, hilbert: AbstractHilbert
) -> tuple[AbstractOperator, AbstractOperator]:
    """A unitary and its adjoint, both in traceable form."""
    unitary = traceable(operator, hilbert)
    if not isinstance(operator, DiscreteOperator):
        raise TypeError(f"{type(operator).__name__} acts on no discrete space.")
    found: Any = unitary
    try:
        adjoint: Any = found.conjugate(concrete=True).transpose(concrete=True)
    except NotImplementedError:
        adjoint = found.H
    try:
        adjoint = traceable(adjoint, hilbert)
    except TypeError:
        raise TypeError(
            f"the adjoint of {type(operator).__name__} cannot be used inside compiled code; give "
            "the operator as a netket.operator.LocalOperator."
        ) from None
    check_unitary(unitary, adjoint, hilbert)
    return unitary, adjoint


def penalised(
    states: Sequence[VariationalState], penalty: float | Sequence[float] | None, state: Any
) -> Targets:
    """The targets of penalties.

    Args:
        states: The states to which `state` shall be orthogonal.
        penalty: One factor for all, or one for each.
        state: The driver's state.

    Raises:
        TypeError: If `states` is no list of states, or a penalty no number.
        ValueError: If there are penalties for another number of states, or none.
    """
    if isinstance(states, nk.vqs.VariationalState):
        raise TypeError("orthogonal_to takes a list of states; write orthogonal_to=[state].")
    states = list(states)
    if (penalty is None) == bool(states):
        raise ValueError(
            "orthogonal_to=[...] and penalty=... belong together; a penalty must be larger than "
            "the distance of the energies of the two states."
        )
    weights = list(penalty) if isinstance(penalty, Sequence) else [penalty] * len(states)
    if len(weights) != len(states):
        raise ValueError(
            f"penalty takes one number, or one for each of {counted(len(states), 'state')}, but "
            f"{penalty!r} was given."
        )
    checked = [check_positive("penalty", weight) for weight in weights]
    return Targets("orthogonal_to", states, state, weights=checked)
