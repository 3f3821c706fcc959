"""Expectation values in a fixed state."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree
from netket.jax.sharding import shard_along_axis
from netket.operator import AbstractOperator
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.driver.processes.consensus import is_single_process
from ritz.driver.signatures import suggests_names
from ritz.lattice.doubts import Watch
from ritz.lattice.driver import LatticeDriver, VariationalState
from ritz.lattice.kernel import LatticeKernel, StepSettings


class ChainMoments(NamedTuple):
    """Moments of one quantity in each chain, over all steps."""

    count: Int[Array, ""]
    """Number of values in each chain."""
    mean: Float[Array, " n_chains"]
    m2: Float[Array, " n_chains"]
    """The sum of the squares of the deviations from `mean`."""

    @classmethod
    def empty(cls, n_chains: int) -> "ChainMoments":
        """Moments of no values, distributed over devices as the chains are."""
        mean, m2 = (shard_along_axis(jnp.zeros(n_chains), axis=0) for _ in range(2))
        return cls(jnp.zeros((), int), mean, m2)

    def with_values(self, values: Float[Array, "n_chains n"]) -> "ChainMoments":
        """The moments with more values added (Chan, Golub, LeVeque 1983, eq. 2.1)."""
        n_new = values.shape[1]
        mean = jnp.mean(values, axis=1)
        m2 = jnp.sum((values - mean[:, None]) ** 2, axis=1)
        count, shift = self.count + n_new, mean - self.mean
        return ChainMoments(
            count,
            self.mean + shift * n_new / count,
            self.m2 + m2 + shift**2 * self.count * n_new / count,
        )


class EvaluationCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    model_state: PyTree
    sampler_state: PyTree
    moments: dict[str, ChainMoments]
    watch: Watch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EvaluationKernel(Kernel):
    """Evaluation = sampling + local values; only the chains move."""

    inner: LatticeKernel
    loss_name: str = dataclasses.field(default="Energy", metadata={"static": True})

    @override
    def sample(self, carry: EvaluationCarry) -> tuple[EvaluationCarry, PyTree]:
        return self.inner.sample(carry)

    @override
    def propose(self, carry: EvaluationCarry, batch: Array) -> tuple[EvaluationCarry, Proposal]:
        stats, _, energies, _ = self.inner.evaluate(carry, batch)
        observed = self.inner.observe(carry, batch)
        carry, metrics = self.inner.metrics(carry, batch, stats)
        metrics |= {name: found for name, (found, _) in observed.items()}
        if carry.moments:
            values = {self.loss_name: energies.reshape(batch.shape[:-1])}
            values |= {name: inner for name, (_, inner) in observed.items()}
            moments = {
                name: carry.moments[name].with_values(jnp.real(inner))
                for name, inner in values.items()
                if inner is not None
            }
            carry = carry._replace(moments=moments)
        return carry, Proposal(stats, (), metrics)

    @override
    def apply(self, carry: EvaluationCarry, update: tuple[()]) -> EvaluationCarry:
        return carry


class Evaluation(LatticeDriver):
    """Estimates the energy and observables of a state, step by step, and changes no parameter.

    Each step draws samples; its row has their statistics. `chain_moments` has what the steps know
    of each chain together, for R-hat.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        variational_state: NetKet's `MCState` or `FullSumState`.
        observables: Name -> operator, estimated besides the energy.
        energy_offset: The energy at infinite temperature, for the V-score.
        n_dof: The number of particles for the V-score, see `VMC`.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: Number of threads that BLAS may use during runs.
        loss_name: Name of the energy in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If operators and state live on different spaces, or an observable has the name
            of something else in the row.
    """

    adjustable = frozenset({"chunk_sizes"})

    @suggests_names
    def __init__(
        self,
        hamiltonian: AbstractOperator,
        *,
        variational_state: VariationalState,
        observables: Mapping[str, AbstractOperator] | None = None,
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
            state: Any = variational_state
            n_chains = state.sampler.n_batches
            names = (loss_name, *self._observables)
            self._moments = {name: ChainMoments.empty(n_chains) for name in names}

    @property
    @override
    def kernel(self) -> EvaluationKernel:
        state = self.state
        settings = StepSettings(
            apply_fun=state._apply_fun,
            rule=None,
            optimizer=None,
            mode="",
            chunk_size=state.chunk_size,
            chunk_size_bwd=None,
            n_dof=self.n_dof,
            energy_offset=self.energy_offset,
            single_scores=False,
            flips=self._flips,
        )
        return EvaluationKernel(self._lattice_kernel(settings), self.loss_name)

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
        moments: Any = self._moments
        if not is_single_process():
            from jax.experimental import multihost_utils

            moments = multihost_utils.process_allgather(moments, tiled=True)
        return jax.tree.map(np.asarray, moments)

    @property
    def chunk_sizes(self) -> dict[str, int | None]:
        """Number of configurations evaluated at once ("forward"); None for all."""
        return {"forward": self.state.chunk_size}

    @chunk_sizes.setter
    def chunk_sizes(self, sizes: Mapping[str, int | None]) -> None:
        self.state.chunk_size = sizes["forward"]
