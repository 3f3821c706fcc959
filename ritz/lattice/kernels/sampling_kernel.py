"""Lattice VMC on samples, as a kernel."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
from jaxtyping import Array, PyTree
from netket.operator import AbstractOperator
from netket.utils import wrap_afun
from typing_extensions import override

from ritz.estimators.base import evaluate_all
from ritz.lattice.doubts import Watch, of_sampling, standstill
from ritz.lattice.kernels.kernel import LatticeCarry, LatticeKernel, SamplingCarry, StepSettings
from ritz.lattice.observables.estimators import (
    LocalValues,
    Observable,
    estimators_of,
    statistics_of,
)
from ritz.lattice.observables.functionals import Functional
from ritz.lattice.operators import in_chunks
from ritz.lattice.sampling.draws import with_chains
from ritz.lattice.sampling.weights import (
    BORN,
    chain_statistics,
    effective_fraction,
    importance_weights,
)
from ritz.types import Row


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SamplingKernel(LatticeKernel):
    """Lattice VMC = Metropolis (or direct) sampling + local energies + an update rule."""

    operator: AbstractOperator
    observables: dict[str, Observable]
    sampler: Any
    """NetKet's sampler; None where samples are drawn outside of compiled programs."""
    settings: StepSettings = dataclasses.field(metadata={"static": True})
    model: Any = dataclasses.field(metadata={"static": True})
    """The model, as the sampler calls it."""
    chain_length: int = dataclasses.field(metadata={"static": True})
    n_discard: int = dataclasses.field(metadata={"static": True})
    machine_pow: Array | None = None
    """The power a of |psi|^a that is sampled, if it is not 2."""

    def sample(self, carry: LatticeCarry) -> tuple[LatticeCarry, Array]:
        """Samples of |psi|^a, shape (n_chains, chain_length, n_sites)."""
        variables = {"params": carry.params, **(carry.model_state or {})}
        # `reset` of NetKet looks where the samples are, which a tracer does not know.
        state = self.sampler._reset(wrap_afun(self.model), variables, carry.sampler_state)
        before = getattr(state, "σ", None)
        if self.n_discard > 0:
            _, state = self.sampler.sample(
                self.model, variables, state=state, chain_length=self.n_discard
            )
        samples, state = self.sampler.sample(
            self.model, variables, state=state, chain_length=self.chain_length
        )
        samples = with_chains(self.sampler, samples)
        watch = carry.watch
        if before is not None and before.shape == samples[:, 0].shape:
            watch = watch.after(moved=jnp.any(samples != before[:, None]))
        return carry._replace(sampler_state=state, watch=watch), samples

    @override
    def weighting(self, carry: SamplingCarry, batch: PyTree, probabilities: Array | None) -> Row:
        weights = self._weights(carry, batch) if probabilities is None else probabilities
        return {} if weights is None else {"ess": effective_fraction(weights)}

    def _weights(self, carry: SamplingCarry, batch: Array) -> Array | None:
        """Probabilities of the samples; None for equal ones."""
        if self.machine_pow is None:
            return None
        log_psi = self.log_psi(carry)
        samples = batch.reshape(-1, batch.shape[-1])
        values = in_chunks(lambda x: log_psi(carry.params, x), samples, self.settings.chunk_size)
        return importance_weights(values, self.machine_pow)

    @override
    def sampling_doubts(
        self, watch: Watch, batch: Array, stats: nk.stats.Stats, metrics: Row
    ) -> dict[str, Array]:
        is_markov = self.sampler is None or isinstance(self.sampler, nk.sampler.MetropolisSampler)
        chains = (batch.shape[0], batch.shape[1]) if is_markov else None
        acceptance, ess = metrics.get("acceptance"), metrics.get("ess")
        patience = 1
        if isinstance(self.sampler, nk.sampler.MetropolisSampler):
            patience = standstill(batch.shape[-1], self.sampler.sweep_size, batch.shape[1])
        return of_sampling(watch, batch, stats, acceptance, chains, ess, patience)

    def _energies(self, carry: SamplingCarry, params: PyTree, x: Array) -> Array:
        s = self.settings
        energy = LocalValues(self.operator, s.chunk_size, s.flips)
        return energy.evaluate(self.log_psi(carry), params, x, {})

    @override
    def observe(
        self,
        carry: SamplingCarry,
        batch: Array,
        energies: Array,
        probabilities: Array | None = None,
    ) -> dict[str, tuple[PyTree, Array | None]]:
        weights = self._weights(carry, batch) if probabilities is None else probabilities
        samples, s = batch.reshape(-1, batch.shape[-1]), self.settings
        estimators, known = estimators_of(self.observables, s.chunk_size), {s.loss_name: energies}
        log_psi, shape = self.log_psi(carry), batch.shape[:-1]
        shape = shape if len(shape) > 1 else (1, *shape)
        values = evaluate_all(estimators, log_psi, carry.params, samples, known)
        chains = samples.reshape(*shape, -1)
        of_chains = None if weights is None else weights.reshape(shape)
        found = {}
        for name, one in self.observables.items():
            if isinstance(one, Functional):
                found[name] = one.sampled(log_psi, carry.params, chains, of_chains, s.chunk_size)
            else:
                found[name] = statistics_of(estimators[name], values[name], shape, weights)
        return found

    @override
    def evaluate(
        self, carry: SamplingCarry, batch: Array
    ) -> tuple[nk.stats.Stats, Array, Array, Array | None]:
        samples = batch.reshape(-1, batch.shape[-1])
        energies = self._energies(carry, carry.params, samples)
        weights = self._weights(carry, batch)
        stats, _ = chain_statistics(energies.reshape(batch.shape[:-1]), weights)
        return stats, samples, energies, weights

    @override
    def by_chain(self, batch: Array, energies: Array, probabilities: Array | None) -> Array:
        return chain_statistics(energies.reshape(batch.shape[:-1]), probabilities)[1]

    def trial(self, carry: LatticeCarry, batch: Array, update: PyTree) -> Array:
        """The energy after `update`, the samples weighted by |psi_new|^2 / |psi_old|^a."""
        samples = batch.reshape(-1, batch.shape[-1])
        new = self.apply(carry, update).params
        log_psi = self.log_psi(carry)
        power = BORN if self.machine_pow is None else self.machine_pow
        log_weights = jnp.real(2 * log_psi(new, samples) - power * log_psi(carry.params, samples))
        return jnp.sum(jax.nn.softmax(log_weights) * self._energies(carry, new, samples))
