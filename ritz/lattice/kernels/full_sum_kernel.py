"""Lattice VMC on a sum over all configurations, as a kernel."""

import dataclasses

import jax
import jax.numpy as jnp
import netket as nk
from jax.experimental.sparse import JAXSparse
from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.estimators.base import evaluate_all, in_double
from ritz.lattice.kernels.kernel import LatticeCarry, LatticeKernel, SamplingCarry, StepSettings
from ritz.lattice.observables.estimators import Given, Observable
from ritz.lattice.observables.functionals import Summed
from ritz.lattice.operators import exact_statistics, in_chunks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FullSumKernel(LatticeKernel):
    """Lattice VMC with a sum over all configurations in place of sampling."""

    matrix: JAXSparse
    """The Hamiltonian as a sparse matrix."""
    states: Array
    """All configurations, shape (n_states, n_sites)."""
    observables: dict[str, Observable]
    """Operators as sparse matrices, functionals in their form for sums, and other estimators."""
    settings: StepSettings = dataclasses.field(metadata={"static": True})

    @override
    def sample(self, carry: LatticeCarry) -> tuple[LatticeCarry, tuple[()]]:
        return carry, ()

    def _amplitudes(self, carry: SamplingCarry, params: PyTree) -> Array:
        log_psi = self.log_psi(carry)
        values = in_chunks(lambda x: log_psi(params, x), self.states, self.settings.chunk_size)
        psi = jnp.exp(values - jnp.max(jnp.real(values)))
        return psi / jnp.linalg.norm(psi)

    @override
    def evaluate(
        self, carry: LatticeCarry, batch: Array
    ) -> tuple[nk.stats.Stats, Array, Array, Array]:
        psi = self._amplitudes(carry, carry.params)
        stats, energies = exact_statistics(self.matrix, psi)
        states, probabilities = self._weighted(psi)
        return stats, states, energies, probabilities

    def _weighted(self, psi: Array) -> tuple[Array, Array]:
        """All configurations and their probabilities.

        Those with no amplitude have no weight, and neither local energies nor derivatives of log
        psi: another configuration stands in for them.
        """
        probabilities = jnp.abs(psi) ** 2
        likely = self.states[jnp.argmax(probabilities)]
        return jnp.where((psi == 0)[:, None], likely, self.states), probabilities

    @override
    def observe(
        self,
        carry: SamplingCarry,
        batch: PyTree,
        energies: Array,
        probabilities: Array | None = None,
    ) -> dict[str, tuple[PyTree, Array | None]]:
        if not self.observables:
            return {}
        psi = self._amplitudes(carry, carry.params)
        states, probabilities = self._weighted(psi)
        found, known, estimators = {}, {self.settings.loss_name: energies}, {}
        for name, one in self.observables.items():
            if isinstance(one, Given):
                estimators[name] = one.estimator
            elif isinstance(one, Summed):
                found[name] = one.statistics(psi)
            else:
                found[name], known[name] = exact_statistics(one, psi)
        values = evaluate_all(estimators, self.log_psi(carry), carry.params, states, known)
        for name, estimator in estimators.items():
            found[name] = estimator.finalize(
                estimator.reduce(in_double(values[name]), probabilities)
            )
        return {name: (found[name], None) for name in self.observables}

    @override
    def trial(self, carry: LatticeCarry, batch: Array, update: PyTree) -> Array:
        psi = self._amplitudes(carry, self.apply(carry, update).params)
        return jnp.vdot(psi, self.matrix @ psi)
