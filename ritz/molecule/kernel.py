"""A step of molecular VMC as pure functions: sample, propose, apply."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Inexact, Int, Key, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.driver.processes.division import ONE_DEVICE, Division
from ritz.estimators.base import AbstractEstimator, Values, evaluate_all, in_double
from ritz.estimators.chain_moments import ChainMoments
from ritz.estimators.clipping import LossAndGrad
from ritz.estimators.statistics import Stats
from ritz.molecule.wavefunction import LogPsi
from ritz.samplers import AbstractSampler, SamplerState
from ritz.types import Row
from ritz.updates import AbstractUpdateRule, Problem
from ritz.updates.optimizer_step import optimizer_step

LOWEST_ACCEPTANCE, HIGHEST_ACCEPTANCE = 1e-3, 0.999

REMEDIES = {
    "acceptance": f"the sampler accepts fewer than {LOWEST_ACCEPTANCE:g} of its moves: the walkers "
    "stay where they are, and neither the energy nor its error means anything; begin again with "
    "another seed, a smaller learning rate, or a smaller width of the sampler",
    "diffusion": f"the sampler accepts more than {HIGHEST_ACCEPTANCE:g} of its moves: they are so "
    "short that the walkers hardly move; give the sampler a larger width, or more burn_in",
}
"""What doubts about the numbers of a step mean, and what to try."""


class Samples(NamedTuple):
    """Samples of a step, and how they were drawn."""

    electrons: Float[Array, "n_walkers n_electrons 3"]
    """Positions in bohr, those of electrons with spin up first."""
    drawing: Row
    """What the sampler logs."""


class SamplingCarry(Protocol):
    """The fields of a carry that evaluations on samples use."""

    @property
    def params(self) -> PyTree:
        """Parameters of the wave function."""
        ...

    @property
    def sampler_state(self) -> SamplerState:
        """Walkers and the width of their moves."""
        ...

    def _replace(self, **changes: object) -> Self: ...


class MoleculeCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    sampler_state: SamplerState
    optimizer_state: PyTree
    rule_state: PyTree
    key: Key[Array, ""]
    rate_scale: Float[Array, ""]
    """Multiplies the optimiser's step."""
    damping_scale: Float[Array, ""]
    """Multiplies the rule's diagonal shift."""


class EvaluationCarry(NamedTuple):
    """All that the next step of an evaluation needs."""

    params: PyTree
    sampler_state: SamplerState
    moments: dict[str, ChainMoments]
    """Moments of each walker, of the estimators with one number for each sample."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sampling:
    """Static settings of sampling and estimating; hashable, and a pytree without arrays."""

    log_psi: LogPsi = dataclasses.field(metadata={"static": True})
    sampler: AbstractSampler = dataclasses.field(metadata={"static": True})
    estimators: tuple[tuple[str, AbstractEstimator], ...] = dataclasses.field(
        metadata={"static": True}
    )
    """In the order in which they are logged."""
    loss: str = dataclasses.field(metadata={"static": True})
    """The estimator that is the energy."""
    division: Division = dataclasses.field(default=ONE_DEVICE, metadata={"static": True})
    """The devices that share the walkers."""

    def sample(self, carry: Any) -> tuple[Any, Samples]:
        """Samples of |psi|^2, one from each walker."""
        electrons, state, drawing = self.sampler.sample(
            self.log_psi, carry.params, carry.sampler_state
        )
        return carry._replace(sampler_state=state), Samples(electrons, drawing)

    def values(self, params: PyTree, samples: Samples) -> dict[str, Values]:
        """The values of all estimators on the samples."""
        found = evaluate_all(dict(self.estimators), self.log_psi, params, samples.electrons)
        return self.division.gathered({name: in_double(value) for name, value in found.items()})

    def estimates(self, values: Mapping[str, Values]) -> tuple[Stats, Row]:
        """Statistics of the energy, and of the other estimators by name."""

        def reduced(values: Mapping[str, Values]) -> dict[str, Any]:
            return {
                name: estimator.finalize(estimator.reduce(values[name]))
                for name, estimator in self.estimators
            }

        found = self.division.alike(reduced)(values)
        energy = found.pop(self.loss)
        return energy, found

    def estimate(self, carry: Any, batch: Samples) -> tuple[Any, Stats, Row, dict[str, Array]]:
        """Estimate everything, see `ritz.estimators.EstimatingKernel`."""
        values = self.values(carry.params, batch)
        energy, others = self.estimates(values)
        chains = {
            name: value[:, None]
            for name, value in values.items()
            if isinstance(value, jax.Array) and value.ndim == 1
        }
        return carry, energy, {**others, **self.drawing(batch)}, chains

    def drawing(self, samples: Samples) -> Row:
        """Metrics of the sampler, and doubts about it."""
        acceptance = samples.drawing["acceptance"]
        doubts = {
            "acceptance": acceptance < LOWEST_ACCEPTANCE,
            "diffusion": acceptance > HIGHEST_ACCEPTANCE,
        }
        return {**samples.drawing, "doubts": doubts}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainingKernel(Kernel):
    """Molecular VMC = Metropolis sampling + local energies + an update rule."""

    sampling: Sampling = dataclasses.field(metadata={"static": True})
    loss_grads: LossAndGrad = dataclasses.field(metadata={"static": True})
    rule: AbstractUpdateRule = dataclasses.field(metadata={"static": True})
    optimizer: optax.GradientTransformation = dataclasses.field(metadata={"static": True})
    mode: str = dataclasses.field(metadata={"static": True})
    chunk_size: int | None = dataclasses.field(metadata={"static": True})
    """Number of walkers differentiated at once."""

    @override
    def sample(self, carry: MoleculeCarry) -> tuple[MoleculeCarry, Samples]:
        return self.sampling.sample(carry)

    @override
    def propose(self, carry: MoleculeCarry, batch: Samples) -> tuple[MoleculeCarry, Proposal]:
        values = self.sampling.values(carry.params, batch)
        energy, others = self.sampling.estimates(values)
        key, now = jax.random.split(carry.key)
        update, rule_state, info, n_clipped = self.direction(
            carry.params,
            batch.electrons,
            values[self.sampling.loss],
            carry.rule_state,
            now,
            damping_scale=carry.damping_scale,
        )
        metrics = {**others, **self.sampling.drawing(batch), "clipped": n_clipped}
        if info:
            metrics["info"] = info
        return carry._replace(key=key, rule_state=rule_state), Proposal(energy, update, metrics)

    def direction(
        self,
        params: PyTree,
        electrons: Float[Array, "n_walkers n_electrons 3"],
        losses: Inexact[Array, " n_walkers"],
        rule_state: PyTree,
        key: Key[Array, ""],
        *,
        damping_scale: Float[Array, ""],
    ) -> tuple[PyTree, PyTree, Row, Int[Array, ""]]:
        """The direction of one state.

        Args:
            params: Its parameters.
            electrons: Its walkers.
            losses: Their local energies, with penalties if there are any.
            rule_state: State of the update rule.
            key: A random key for the rule.
            damping_scale: Multiplies the rule's diagonal shift.

        Returns:
            The direction; the rule's new state; what it logs; how many losses were clipped.
        """
        losses, n_clipped = self.sampling.division.alike(self.loss_grads.clipped)(losses)
        problem = Problem(
            log_psi=self.sampling.log_psi,
            params=params,
            samples=electrons,
            losses=losses,
            mode=self.mode,
            chunk_size=self.chunk_size,
            damping_scale=damping_scale,
            division=self.sampling.division,
        )
        return *self.rule.update(rule_state, problem, params, key), n_clipped

    @override
    def apply(self, carry: MoleculeCarry, update: PyTree) -> MoleculeCarry:
        params, optimizer_state = optimizer_step(
            self.optimizer, carry.params, carry.optimizer_state, update, carry.rate_scale
        )
        return carry._replace(params=params, optimizer_state=optimizer_state)

    def trial(self, carry: MoleculeCarry, batch: Samples, update: PyTree) -> Inexact[Array, ""]:
        """The energy after `update`, the samples weighted by |psi_new / psi_old|^2."""
        new, log_psi = self.apply(carry, update).params, self.sampling.log_psi
        change = log_psi(new, batch.electrons) - log_psi(carry.params, batch.electrons)
        energies = self.sampling.values(new, batch)[self.sampling.loss]
        return jnp.sum(jax.nn.softmax(2 * jnp.real(change)) * energies)


@jax.jit
def burnt_in(kernel: Any, carry: Any, n_steps: Int[Array, ""]) -> Any:
    """The carry after the samples of `n_steps` steps were drawn and thrown away.

    Args:
        kernel: A pytree with a method `sample`, such as a `Sampling`.
        carry: Its carry.
        n_steps: Number of steps; one program serves all numbers.
    """
    return jax.lax.fori_loop(0, n_steps, lambda _, inner: kernel.sample(inner)[0], carry)
