"""A step of molecular VMC of several states as pure functions: sample, propose, apply."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.estimators.base import Values
from ritz.estimators.statistics import Stats, statistics
from ritz.molecule.kernel import MoleculeCarry, Samples, Sampling, TrainingKernel
from ritz.molecule.multistate.overlap import Overlaps, Weights, overlaps
from ritz.molecule.multistate.stacking import over_states, state_of
from ritz.types import Row
from ritz.updates.optimizer_step import optimizer_step

REMEDIES = {
    "overlap": "two states overlap, so that their energies are not those of two states: begin with "
    "other orbitals (ritz.molecule.excited_orbitals), take more steps, or give a larger "
    "overlap_penalty, above the difference of their energies"
}
"""What doubts about several states mean, and what to try."""


def by_state(row: Mapping[str, PyTree], n_states: int) -> Row:
    """Stacked values of a row as one entry for each state, `energy_0` for example."""
    return {
        f"{name}_{k}": state_of(value, k) for name, value in row.items() for k in range(n_states)
    }


def average(stats: Stats) -> Stats:
    """Statistics of the mean over independent states, from those of each of them."""
    n_states = len(stats.mean)
    error = jnp.sqrt(jnp.sum(stats.error_of_mean**2)) / n_states
    return Stats(jnp.mean(stats.mean), error, jnp.mean(stats.variance))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MultiStateSampling:
    """Sampling and estimating of several states, each with its parameters and walkers.

    Arrays of carries, samples and values have the states along their first axis.
    """

    one: Sampling = dataclasses.field(metadata={"static": True})
    """That of a single state."""
    n_states: int = dataclasses.field(metadata={"static": True})

    @property
    def loss(self) -> str:
        """The estimator that is the energy."""
        return self.one.loss

    def sample(self, carry: Any) -> tuple[Any, Samples]:
        """Samples of |psi|^2 of each state, one from each walker."""

        def drawn(params: PyTree, state: Any) -> Any:
            return self.one.sampler.sample(self.one.log_psi, params, state)

        electrons, state, drawing = over_states(drawn, carry.params, carry.sampler_state)
        return carry._replace(sampler_state=state), Samples(electrons, drawing)

    def values(self, params: PyTree, samples: Samples) -> dict[str, Values]:
        """The values of all estimators on the samples of each state."""
        return over_states(
            lambda params, electrons: self.one.values(params, Samples(electrons, {})),
            params,
            samples.electrons,
        )

    def estimates(self, values: Mapping[str, Values]) -> Row:
        """Statistics of all estimators, an entry for each state."""
        return {
            f"{name}_{k}": estimator.finalize(estimator.reduce(state_of(values[name], k)))
            for name, estimator in self.one.estimators
            for k in range(self.n_states)
        }

    def overlaps(
        self, params: PyTree, samples: Samples, weights: Float[Array, "n_states n"] | None = None
    ) -> Overlaps:
        """Ratios of the states on their samples, see `overlaps`."""
        return overlaps(self.one.log_psi, params, samples.electrons, weights)

    def estimate(self, carry: Any, batch: Samples) -> tuple[Any, Stats, Row, dict[str, Array]]:
        """Estimate everything, see `ritz.estimators.EstimatingKernel`."""
        values, found = self.values(carry.params, batch), self.overlaps(carry.params, batch)
        row = {**self.estimates(values), **found.rows(), **self.drawing(batch, found)}
        losses = values[self.loss]
        chains = {
            name: value[..., None]
            for name, value in by_state(values, self.n_states).items()
            if isinstance(value, jax.Array) and value.ndim == 1
        }
        energy = average(over_states(statistics, losses))
        return carry, energy, row, {self.loss: jnp.mean(losses, axis=0)[:, None], **chains}

    def drawing(self, samples: Samples, found: Overlaps) -> Row:
        """Metrics of the sampler by state, and doubts about it and about overlaps."""
        row = self.one.drawing(samples)
        doubts = {name: jnp.any(holds) for name, holds in row.pop("doubts").items()}
        doubts["overlap"] = found.are_large()
        return {**by_state(row, self.n_states), "doubts": doubts}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MultiStateKernel(Kernel):
    """Molecular VMC of each state, with penalties on overlaps in the local energies.

    The penalty of a pair acts on the state with the higher energy, so that the lowest one is
    trained as if it were alone (Entwistle et al., Nat. Commun. 14, 274, 2023).
    """

    sampling: MultiStateSampling = dataclasses.field(metadata={"static": True})
    one: TrainingKernel = dataclasses.field(metadata={"static": True})
    """That of a single state."""
    weights: Weights = dataclasses.field(metadata={"static": True})
    """Of squared overlaps, in hartree."""

    @override
    def sample(self, carry: MoleculeCarry) -> tuple[MoleculeCarry, Samples]:
        return self.sampling.sample(carry)

    def _penalised(
        self, losses: Inexact[Array, "n_states n"], energies: Array, found: Overlaps
    ) -> Inexact[Array, "n_states n"]:
        return losses + found.penalties(energies, self.weights)

    @override
    def propose(self, carry: MoleculeCarry, batch: Samples) -> tuple[MoleculeCarry, Proposal]:
        sampling, n_states = self.sampling, self.sampling.n_states
        values = sampling.values(carry.params, batch)
        found = sampling.overlaps(carry.params, batch)
        losses = values[sampling.loss]
        losses = self._penalised(losses, jnp.mean(losses, axis=1), found)
        keys = jax.random.split(carry.key, n_states + 1)

        def direction(*given: Any) -> Any:
            return self.one.direction(*given, damping_scale=carry.damping_scale)

        update, rule_state, info, n_clipped = over_states(
            direction, carry.params, batch.electrons, losses, carry.rule_state, keys[1:]
        )
        metrics = {
            **sampling.estimates(values),
            **found.rows(),
            **sampling.drawing(batch, found),
            **by_state({"clipped": n_clipped}, n_states),
        }
        if info:
            metrics |= by_state({"info": info}, n_states)
        energy = average(over_states(statistics, losses))
        changed = carry._replace(key=keys[0], rule_state=rule_state)
        return changed, Proposal(energy, update, metrics)

    @override
    def apply(self, carry: MoleculeCarry, update: PyTree) -> MoleculeCarry:
        def step(params: PyTree, state: PyTree, update: PyTree) -> tuple[PyTree, PyTree]:
            return optimizer_step(self.one.optimizer, params, state, update, carry.rate_scale)

        params, state = over_states(step, carry.params, carry.optimizer_state, update)
        return carry._replace(params=params, optimizer_state=state)

    def trial(self, carry: MoleculeCarry, batch: Samples, update: PyTree) -> Inexact[Array, ""]:
        """The loss after `update`, the samples weighted by |psi_new / psi_old|^2."""
        new, log_psi = self.apply(carry, update).params, self.sampling.one.log_psi

        def probabilities(new: PyTree, old: PyTree, electrons: Array) -> Array:
            change = log_psi(new, electrons) - log_psi(old, electrons)
            return jax.nn.softmax(2 * jnp.real(change))

        weights = over_states(probabilities, new, carry.params, batch.electrons)
        found = self.sampling.overlaps(new, batch, weights)
        losses = self.sampling.values(new, batch)[self.sampling.loss]
        energies = jnp.sum(weights * losses, axis=1)
        return jnp.mean(jnp.sum(weights * self._penalised(losses, energies, found), axis=1))
