"""Base class of drivers on NetKet's states: the state, its samples, and how they are drawn."""

import abc
import contextlib
import copy
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import netket as nk
from jax.sharding import Mesh
from jaxtyping import PyTree
from typing_extensions import override

from ritz.checks import named
from ritz.driver import CompiledDriver
from ritz.driver.arguments import Plugin
from ritz.driver.callback import AbstractCallback
from ritz.driver.hooks import HookList
from ritz.lattice.doubts import LOWEST_ACCEPTANCE, REMEDIES, TELLING, Watch
from ritz.lattice.flips import Flips, flips_of
from ritz.lattice.interop import adapt_netket
from ritz.lattice.kernels.full_sum_kernel import FullSumKernel
from ritz.lattice.kernels.kernel import LatticeKernel, StepSettings
from ritz.lattice.kernels.sampling_kernel import SamplingKernel
from ritz.lattice.matrix_elements import hermitian
from ritz.lattice.model_state import check_model_state, check_state, convolves
from ritz.lattice.observables.estimators import (
    check_observable,
    expectation,
    fingerprint_of,
    summed,
)
from ritz.lattice.operators import sparse_matrix
from ritz.lattice.row_names import checked_name, checked_observables
from ritz.lattice.sampling.draws import burnt_in, draw, in_double, samples_compiled, sampling_mesh
from ritz.lattice.sampling.first_samples import (
    check_configurations,
    check_drawn,
    check_initial,
    check_sampler,
)
from ritz.lattice.sampling.move_counts import moves, moves_since
from ritz.lattice.sampling.weights import unequal_power
from ritz.types import Row
from ritz.updates.blas_threads import limited_blas

VariationalState = nk.vqs.MCState | nk.vqs.FullSumState


class LatticeDriver(CompiledDriver):
    """A driver whose steps draw samples of one of NetKet's states and evaluate operators on them.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        variational_state: NetKet's `MCState` or `FullSumState`. The driver changes it, and
            follows changes of its settings (samples, chunk size) between steps.
        observables: Name -> operator, estimator or function (params, sample) -> value, estimated
            on the samples of each step.
        energy_offset: The energy at infinite temperature, for the V-score.
        n_dof: The number of particles for the V-score; by default the number of sites, or of
            fermions where it is fixed.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: Number of threads that BLAS may use during runs; None for all.
        loss_name: Name of the energy in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If operators have another space, or the Hamiltonian is not Hermitian.
    """

    def __init__(
        self,
        hamiltonian: nk.operator.AbstractOperator,
        variational_state: VariationalState,
        observables: Mapping[str, object] | None,
        energy_offset: float,
        n_dof: int | None,
        local_updates: bool,
        blas_threads: int | None,
        loss_name: str = "Energy",
    ):
        check_state(variational_state, mixed=self.takes_mixed)
        self._sums = isinstance(variational_state, nk.vqs.FullSumState)
        if isinstance(variational_state, nk.vqs.MCState):
            check_sampler(variational_state.sampler)
            unequal_power(variational_state)
        super().__init__(variational_state, minimized_quantity_name=checked_name(loss_name))
        check_model_state(variational_state)
        hilbert: Any = variational_state.hilbert
        self._hamiltonian = hamiltonian
        self._operator = named("hamiltonian", lambda: hermitian(hamiltonian, hilbert))
        self._observables = checked_observables(observables, hilbert, loss_name)
        self._checked: nk.sampler.Sampler | None = None
        self._checked_batch: jax.Array | None = None
        self.energy_offset, self.blas_threads = energy_offset, blas_threads
        self.n_dof = n_dof or getattr(hilbert, "n_fermions", None) or hilbert.size
        self._flips = self._find_flips() if local_updates else None
        self._watch = Watch.begin()
        self._moves_made: tuple[int, int] | None = None
        self._compiled_kinds: dict[type, bool] = {}
        self._full_sum: tuple[PyTree, jax.Array, dict[str, PyTree]] | None = None

    takes_mixed: ClassVar[bool] = False
    """Whether states are density matrices."""

    telling_doubts = TELLING
    doubt_remedies = REMEDIES

    def _log_psi(self, params: PyTree, x: jax.Array) -> jax.Array:
        return self.state._apply_fun({"params": params, **(self.state.model_state or {})}, x)

    def _find_flips(self) -> Flips | None:
        state = self.state
        return None if self._sums or state.model_state else flips_of(state, self._operator)

    @override
    def environment(self) -> contextlib.AbstractContextManager[object]:
        return limited_blas(self.blas_threads)

    @property
    def energy(self) -> nk.stats.Stats:
        """Statistics of the energy at the present step: `loss` by the name that NetKet uses."""
        return self.loss

    @property
    def hamiltonian(self) -> nk.operator.AbstractOperator:
        """The Hamiltonian as it was given."""
        return self._hamiltonian

    def _lattice_kernel(self, settings: StepSettings) -> LatticeKernel:
        state = self.state
        if self._sums:
            if self._full_sum is None:
                states = jnp.asarray(state.hilbert.all_states())
                observables = {name: summed(one) for name, one in self._observables.items()}
                self._full_sum = (sparse_matrix(self._operator), states, observables)
            return FullSumKernel(*self._full_sum, settings)
        compiled = self._samples_compiled
        return SamplingKernel(
            operator=self._operator,
            observables=self._observables,
            sampler=state.sampler if compiled else None,
            settings=settings,
            model=state._sampler_model if compiled else None,
            chain_length=state.chain_length,
            n_discard=state.n_discard_per_chain,
            machine_pow=unequal_power(state),
        )

    @property
    def _carried_sampler(self) -> nk.sampler.SamplerState | None:
        """The sampler's state, if the kernel draws the samples."""
        return self.state.sampler_state if self._samples_compiled else None

    def _put(self, carry: PyTree) -> None:
        """Store the parameters and the sampler's state."""
        state = self.state
        state.parameters = carry.params
        if carry.model_state is not None and carry.model_state is not state.model_state:
            state.model_state = carry.model_state
        if carry.sampler_state is not None and carry.sampler_state is not state.sampler_state:
            state._sampler_state_previous = state.sampler_state
            state.sampler_state = carry.sampler_state

    @property
    @override
    def _mesh(self) -> Mesh | None:
        return None if self._sums else sampling_mesh()

    @property
    def batch(self) -> PyTree:
        """The samples in the state, or None; a full sum has none."""
        if self._sums:
            return ()
        samples = self.state._samples
        if samples is not None and not isinstance(samples, jax.Array):
            samples = self.state._samples = jnp.asarray(samples)  # samples set by a callback
        return samples

    @batch.setter
    def batch(self, batch: PyTree) -> None:
        if self._sums:
            self.state.reset()
        else:
            self.state._samples = batch

    @property
    def _samples_compiled(self) -> bool:
        """Whether the kernel draws the samples, and not the state or a full sum."""
        if self._sums:
            return False
        kind = type(self.state.sampler)
        if kind not in self._compiled_kinds:
            self._compiled_kinds[kind] = samples_compiled(self.state)
        return self._compiled_kinds[kind]

    @property
    def runs_blocks(self) -> bool:
        """Whether steps can run as blocks, and gain by it.

        Not with uncompiled samplers, nor with convolutions on CPUs, which are slow inside loops.
        """
        return (self._sums or self._samples_compiled) and not self._convolves_on_cpu

    @functools.cached_property
    def _convolves_on_cpu(self) -> bool:
        return jax.default_backend() == "cpu" and convolves(self._log_psi, self.state)

    # Checks that samples belong to the space: once a run, and for new samplers or samples.

    def begin_run(self) -> None:
        """Note that the samples are to be checked once in this run."""
        super().begin_run()
        self._checked = None

    @property
    def _is_checked(self) -> bool:
        return self._sums or self._checked is self._variational_state.sampler

    def begin_step(self, hooks: HookList) -> None:
        """Check the initial configurations of the chains, and those after the first block."""
        if self._is_checked:
            return super().begin_step(hooks)
        state = self._variational_state
        check_sampler(state.sampler)
        check_initial(state.sampler, state.sampler_state)
        super().begin_step(hooks)
        if self._replay is not None:
            check_drawn(state.sampler, self._replay.block.carry.sampler_state)
            self._checked = state.sampler
        return None

    def _plan(self, first: int) -> int:
        # Samples that the sampler's state does not hold are checked in a live step.
        hidden = not self._is_checked and not hasattr(self.state.sampler_state, "σ")
        return 0 if hidden else super()._plan(first)

    def _compute_live(self) -> tuple[nk.stats.Stats, PyTree]:
        if self._sums:
            return super()._compute_live()
        sampler = self.state.sampler
        if self.batch is not None and self.batch is not self._checked_batch:
            check_configurations(sampler, self.batch, "samples that a callback put in", False)
            self._checked_batch = self.batch
        drawn = self.batch is None
        if drawn and not self._samples_compiled:
            before = moves(self.state.sampler_state)
            draw(self.state)
            self._moves_made = moves_since(before, self.state.sampler_state)
        result = super()._compute_live()
        if drawn and not self._is_checked:
            check_configurations(sampler, self.batch, "samples", True)
            check_drawn(sampler, self.state.sampler_state)
            self._checked = sampler
        return result

    def burn_in(self, n_steps: int) -> None:
        """Draw the samples of `n_steps` steps and throw them away, so that chains equilibrate."""
        if self._sums:
            return
        for _ in range(0 if self._samples_compiled else n_steps):
            draw(self.state)
        if self._samples_compiled and n_steps:
            self._spread()
            self.carry = burnt_in(self.step_kernel, self.carry, n_steps)
        self.batch = None

    def _log_additional_data(self, log_data: Row) -> None:
        if self.block is None and self._moves_made is not None:
            acceptance = self._moves_made[0] / self._moves_made[1]
            frozen = acceptance < LOWEST_ACCEPTANCE
            lost = bool(self._watch.is_lost(self.loss.mean.real))
            doubts = {"acceptance": frozen, "exploded": frozen and lost}
            self._metrics = {
                **self._metrics,
                "acceptance": acceptance,
                "doubts": {**self._metrics.get("doubts", {}), **doubts},
            }
        super()._log_additional_data(log_data)

    @functools.cached_property
    def _fingerprints(self) -> dict[str, object]:
        found = {"hamiltonian": self._operator, **self._observables}
        return {name: fingerprint_of(one) for name, one in found.items()}

    @property
    @override
    def settings(self) -> dict[str, object]:
        state, fingerprints = self.state, dict(self._fingerprints)
        found = {
            **super().settings,
            "hilbert": state.hilbert,
            "hamiltonian": fingerprints.pop("hamiltonian"),
            "observables": fingerprints,
            "model": state.model,
            "local_updates": self._flips is not None,
        }
        if not self._sums:
            found |= {
                "sampler": state.sampler,
                "n_samples": state.n_samples,
                "n_discard_per_chain": state.n_discard_per_chain,
            }
        return found

    @override
    def snapshot(self) -> PyTree:
        carry = super().snapshot()
        if self._sums or self._samples_compiled:
            return carry
        # Initial probabilities of exact samplers have another type than later ones.
        state = jax.tree.map(in_double, copy.deepcopy(self.state.sampler_state))
        return carry._replace(sampler_state=state)

    def restore(self, snapshot: PyTree, *, fresh_samples: bool = False) -> None:
        """Go back to `snapshot`; with `fresh_samples` random numbers are not repeated."""
        if fresh_samples and not self._samples_compiled:
            snapshot = snapshot._replace(sampler_state=None)  # stays as it is
        super().restore(snapshot, fresh_samples=fresh_samples)

    @override
    def snapshot_parameters(self) -> PyTree:
        return self.state.parameters

    @property
    @abc.abstractmethod
    def chunk_sizes(self) -> dict[str, int | None]:
        """Number of configurations treated at once, by kind of evaluation; None for all."""

    @property
    def whole_sizes(self) -> dict[str, int]:
        """The chunk sizes that None stands for."""
        n_samples = self.state.hilbert.n_states if self._sums else self.state.n_samples
        return dict.fromkeys(self.chunk_sizes, int(n_samples))

    def check_observable(self, observable: object) -> None:
        """Refuse what is neither an operator on the state's space nor an estimator."""
        check_observable(observable, self.state.hilbert)

    def _estimate_one(self, observable: Any, fullsum: bool) -> Any:
        return jax.device_get(expectation(self.state, observable, fullsum))

    def adapt(self, plugin: Plugin, argument: str) -> AbstractCallback:
        """Accept callbacks and loggers of NetKet too."""
        return adapt_netket(plugin, argument) or super().adapt(plugin, argument)
