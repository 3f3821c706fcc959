"""Optimisation of the overlap with a target state."""

from collections.abc import Mapping
from typing import Any

import optax
from netket.operator import AbstractOperator

from ritz.checks import check_finite
from ritz.driver.signatures import suggests_names
from ritz.lattice.driver import VariationalState
from ritz.lattice.overlaps.targets import Targets, identity
from ritz.lattice.vmc import DEFAULT_CONTROL, VMC
from ritz.updates import AbstractUpdateRule
from ritz.updates.step_control import StepControl


class Infidelity(VMC):
    """Minimises 1 - |<target|psi>|^2, of normalised states.

    That is VMC with the Hamiltonian 1 - |target><target|, whose local values come from samples of
    both states. Each row has the infidelity with its error as `Infidelity`, the sampler's
    `acceptance` and the numbers of the update rule as `info`.

    For the estimate, the value f of each pair of samples is completed by the control variate
    c (|f|^2 - 1), whose mean is 0: with c = -1/2 the error vanishes with the infidelity (Sinibaldi
    et al., Quantum 7, 1131 (2023)). The gradient needs none, since its local values become constant
    where the states agree.

    Args:
        target_state: phi, NetKet's `MCState`, with as many samples as the variational state, or
            `FullSumState`, as that is. Later changes of it have no effect.
        optimizer: An optax transformation; a number or schedule stands for `optax.sgd` with it.
        variational_state: The state that is optimised, see `VMC`.
        operator: A unitary operator U of NetKet that has a JAX form: the target is U|phi>.
        control_variate: c; 0 for none.
        update: A rule of `ritz.updates`, see `VMC`.
        mode: See `VMC`.
        chunk_size_bwd: How many samples are differentiated at once.
        seed: Seed of the random numbers in update rules.
        single_scores: See `VMC`.
        step_control: Bounds on the steps, see `VMC`; None for none.
        blas_threads: Number of threads that BLAS may use during runs.
        observables: Name -> operator, estimator or function (params, sample) -> value, estimated
            on the samples of each step.
        loss_name: Name of the infidelity in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If states and operator live on different spaces, numbers of samples differ, the
            operator is not unitary, or a sampler cannot be part of a compiled step.
    """

    @suggests_names
    def __init__(
        self,
        target_state: VariationalState,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule,
        *,
        variational_state: VariationalState,
        operator: AbstractOperator | None = None,
        control_variate: float = -0.5,
        update: AbstractUpdateRule | None = None,
        mode: str | None = None,
        chunk_size_bwd: int | None = None,
        seed: int = 0,
        single_scores: bool = False,
        step_control: StepControl | None = DEFAULT_CONTROL,
        blas_threads: int | None = 1,
        observables: Mapping[str, object] | None = None,
        loss_name: str = "Infidelity",
    ):
        given: Any = variational_state
        super().__init__(
            identity(given.hilbert),
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
            observables=observables,
            loss_name=loss_name,
        )
        self._targets = Targets(
            "target_state",
            [target_state],
            self.state,
            weights=[-1.0],
            unitary=operator,
            control_variate=check_finite("control_variate", control_variate),
            is_infidelity=True,
        )
