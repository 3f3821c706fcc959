"""Expectation values in a fixed state."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import PyTree
from netket.jax.sharding import shard_along_axis
from netket.operator import AbstractOperator
from typing_extensions import override

from ritz.driver.processes.division import on_host
from ritz.driver.signatures import suggests_names
from ritz.estimators import ChainMoments, EvaluationKernel
from ritz.lattice.doubts import Watch
from ritz.lattice.driver import LatticeDriver, VariationalState
from ritz.lattice.kernels.kernel import StepSettings
from ritz.lattice.observables.estimators import series_counts


class EvaluationCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    model_state: PyTree
    sampler_state: PyTree
    moments: dict[str, ChainMoments]
    watch: Watch


class Evaluation(LatticeDriver):
    """Estimates the energy and observables of a state, step by step, and changes no parameter.

    Each step draws samples; its row has their statistics. `chain_moments` has what the steps know
    of each chain together, for R-hat.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        variational_state: NetKet's `MCState` or `FullSumState`.
        observables: Name -> operator, estimator or function (params, sample) -> value, estimated
            besides the energy.
        energy_offset: The energy at infinite temperature, for the V-score.
        n_dof: The number of particles for the V-score, see `VMC`.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: Number of threads that BLAS may use during runs.
        loss_name: Name of the energy in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If operators and state live on different spaces, the Hamiltonian is not
            Hermitian (observables may be any operators), or an observable has the name of something
            else in the row.
    """

    adjustable = frozenset({"chunk_sizes"})

    @suggests_names
    def __init__(
        self,
        hamiltonian: AbstractOperator,
        *,
        variational_state: VariationalState,
        observables: Mapping[str, object] | None = None,
        energy_offset: float = 0.0,
        n_dof: int | None = None,
        local_updates: bool = True,
        blas_threads: int | None = 1,
        loss_name: str = "Energy",
    ):
        super().__init__(
            hamiltonian=hamiltonian,
            variational_state=variational_state,
            observables=observables,
            energy_offset=energy_offset,
            n_dof=n_dof,
            local_updates=local_updates,
            blas_threads=blas_threads,
            loss_name=loss_name,
        )
        self._moments: dict[str, ChainMoments] = {}
        if not self._sums:
            counts = series_counts(self._observables, loss_name, self._log_psi, variational_state)
            self._moments = {name: _no_moments(n) for name, n in counts.items()}

    @property
    @override
    def kernel(self) -> EvaluationKernel:
        state = self.state
        settings = StepSettings(
            apply_fun=state._apply_fun,
            chunk_size=state.chunk_size,
            n_dof=self.n_dof,
            energy_offset=self.energy_offset,
            flips=self._flips,
            loss_name=self.loss_name,
        )
        return EvaluationKernel(self._lattice_kernel(settings))

    @property
    @override
    def carry(self) -> EvaluationCarry:
        state = self.state
        return EvaluationCarry(
            state.parameters, state.model_state, self._carried_sampler, self._moments, self._watch
        )

    @carry.setter
    def carry(self, carry: EvaluationCarry) -> None:
        self._put(carry)
        self._moments, self._watch = carry.moments, carry.watch

    @property
    def settings(self) -> dict[str, object]:
        """Settings on which the results depend, here with the parameters, which stay fixed."""
        return {**super().settings, "parameters": self.state.parameters}

    @property
    def chain_moments(self) -> dict[str, ChainMoments]:
        """Count, means and squared deviations of each chain, by the name of the quantity."""
        self._refuse_deferred("asked for driver.chain_moments")
        return on_host(self._moments)

    @property
    def chunk_sizes(self) -> dict[str, int | None]:
        """Number of configurations evaluated at once ("forward"); None for all."""
        return {"forward": self.state.chunk_size}

    @chunk_sizes.setter
    def chunk_sizes(self, sizes: Mapping[str, int | None]) -> None:
        self.state.chunk_size = sizes["forward"]


def _no_moments(n_chains: int) -> ChainMoments:
    """Moments of no values, laid out over devices as the chains are."""
    try:
        sharding = shard_along_axis(jnp.zeros(n_chains), axis=0).sharding
    except ValueError:  # pairs of chains that the devices cannot share
        sharding = None
    return ChainMoments.empty(n_chains, sharding)
