"""A step of lattice VMC as pure functions: sample, propose, apply."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import jax
import jax.numpy as jnp
import netket as nk
import optax
from jax.experimental.sparse import JAXSparse
from jaxtyping import Array, Float, Inexact, Key, PyTree
from netket.operator import AbstractOperator
from netket.utils import wrap_afun
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.driver.kernel import TAKEN_BACK
from ritz.estimators.base import evaluate_all, in_double
from ritz.lattice.doubts import Watch, of_explosion, of_sampling, of_variance
from ritz.lattice.estimators import (
    Given,
    LocalValues,
    Observable,
    estimators_of,
    statistics_of,
)
from ritz.lattice.flips import Flips
from ritz.lattice.model_state import Following
from ritz.lattice.operators import exact_statistics, in_chunks, v_score
from ritz.types import Row
from ritz.updates import AbstractUpdateRule, Problem
from ritz.updates.optimizer_step import optimizer_step
from ritz.updates.step_control import ControlState, StepControl, select


class SamplingCarry(Protocol):
    """The fields of a carry that evaluations on samples use."""

    @property
    def params(self) -> PyTree:
        """Parameters of the wave function, a tree of arrays."""
        ...

    @property
    def model_state(self) -> PyTree:
        """Variables of the model besides its parameters; None if there are none."""
        ...

    @property
    def sampler_state(self) -> PyTree:
        """NetKet's sampler state; None for a full sum."""
        ...

    @property
    def watch(self) -> "Watch":
        """Data by which the next step is judged."""
        ...

    def _replace(self, **changes: object) -> Self: ...


Carry = TypeVar("Carry", bound=SamplingCarry)

Alter = Callable[..., tuple[nk.stats.Stats, Inexact[Array, " n"]]]
"""(statistics, samples, local energies, probabilities) -> statistics of the loss, local losses."""


class Good(NamedTuple):
    """The parts of a `LatticeCarry` that a step which is taken back restores."""

    params: PyTree
    model_state: PyTree
    optimizer_state: PyTree
    rule_state: PyTree
    sampler_state: PyTree


class LatticeCarry(NamedTuple):
    """All that the next step needs."""

    params: PyTree
    model_state: PyTree
    sampler_state: PyTree
    """NetKet's sampler state with its random key; None for a full sum."""
    optimizer_state: PyTree
    rule_state: PyTree
    key: Key[Array, ""]
    rate_scale: Float[Array, ""]
    """Multiplies the optimiser's step."""
    damping_scale: Float[Array, ""]
    """Multiplies the rule's diagonal shift."""
    watch: Watch
    """Data by which the next step is judged."""
    control: ControlState | None
    """Memory of the step control; None without one."""

    @property
    def good(self) -> Good:
        """What a step that is taken back goes back to."""
        return Good(*(getattr(self, name) for name in Good._fields))


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Static settings of a compiled step; hashable."""

    apply_fun: Callable[[PyTree, Array], Array]
    """`(variables, samples) -> log psi`."""
    rule: AbstractUpdateRule | None
    """None in evaluations, as for `optimizer`."""
    optimizer: optax.GradientTransformation | None
    mode: str
    chunk_size: int | None
    chunk_size_bwd: int | None
    n_dof: int
    energy_offset: float
    single_scores: bool = False
    """Whether derivatives of log psi are computed in single precision."""
    flips: Flips | None = None
    """Hamiltonian and local update, for local energies without the model; None for others."""
    loss_name: str = "Energy"
    """Name of the energy in rows."""
    control: StepControl | None = None
    """Bounds on steps; None for none."""
    following: Following | None = None
    """How variables besides the parameters follow the samples; None if they stay as they are."""


class LatticeKernel(Kernel):
    """Base class of the kernels for sampling and full summation."""

    settings: StepSettings

    def log_psi(self, carry: SamplingCarry) -> Callable[[PyTree, Array], Array]:
        """`(params, samples) -> log psi` with the carry's model state."""
        model_state = carry.model_state or {}
        return lambda params, x: self.settings.apply_fun({"params": params, **model_state}, x)

    @abc.abstractmethod
    def evaluate(
        self, carry: SamplingCarry, batch: PyTree
    ) -> tuple[nk.stats.Stats, Array, Inexact[Array, " n"], Array | None]:
        """Statistics of the energy; configurations, local energies and probabilities."""

    @abc.abstractmethod
    def observe(
        self, carry: SamplingCarry, batch: PyTree, energies: Array
    ) -> dict[str, tuple[PyTree, Array | None]]:
        """What is logged of each observable, and its values by chain, if there are any.

        Args:
            carry: The carry.
            batch: The samples.
            energies: The local energies from `evaluate`.
        """

    def metrics(self, carry: Carry, batch: PyTree, stats: nk.stats.Stats) -> tuple[Carry, Row]:
        """Metrics besides the energy, and the carry with the data for the next step's doubts."""
        s = self.settings
        found: Row = {"v_score": v_score(stats.mean, stats.variance, s.n_dof, s.energy_offset)}
        watch, jumped = of_variance(carry.watch, stats)
        doubts = {"variance": jumped}
        accepted = getattr(carry.sampler_state, "n_accepted_proc", None)
        if accepted is not None:
            found["acceptance"] = jnp.sum(accepted) / carry.sampler_state.n_steps_proc
        of_samples = self.sampling_doubts(watch, batch, stats, found.get("acceptance"))
        if of_samples:
            doubts |= of_samples
            watch, doubts["exploded"] = of_explosion(watch, stats, found.get("acceptance"), doubts)
        return carry._replace(watch=watch), {**found, "doubts": doubts}

    def sampling_doubts(
        self, watch: Watch, batch: Array, stats: nk.stats.Stats, acceptance: Array | None
    ) -> dict[str, Array]:
        """Doubts about the samples; none for a full sum."""
        return {}

    def estimate(
        self, carry: Carry, batch: PyTree
    ) -> tuple[Carry, nk.stats.Stats, Row, dict[str, Array]]:
        """Estimate everything, see `ritz.estimators.EstimatingKernel`."""
        stats, _, energies, probabilities = self.evaluate(carry, batch)
        observed = self.observe(carry, batch, energies)
        carry, metrics = self.metrics(carry, batch, stats)
        metrics |= {name: found for name, (found, _) in observed.items()}
        values = {name: inner for name, (_, inner) in observed.items() if inner is not None}
        if probabilities is None:  # samples, of which chains are known
            values[self.settings.loss_name] = energies.reshape(batch.shape[:-1])
        return carry, stats, metrics, values

    @override
    def propose(
        self, carry: LatticeCarry, batch: Array, alter: Alter | None = None
    ) -> tuple[LatticeCarry, Proposal]:
        s = self.settings
        assert s.rule is not None
        stats, samples, energies, probabilities = self.evaluate(carry, batch)
        altered = alter and alter(stats, samples, energies, probabilities)
        stats, losses = altered or (stats, energies)
        problem = Problem(
            log_psi=self.log_psi(carry),
            params=carry.params,
            samples=samples,
            losses=losses,
            weights=probabilities,
            mode=s.mode,
            chunk_size=s.chunk_size_bwd,
            damping_scale=carry.damping_scale,
            single_scores=s.single_scores,
        )
        carry = self._judged(carry, stats)
        key, own = jax.random.split(carry.key)
        update, rule_state, info = s.rule.update(carry.rule_state, problem, carry.params, own)
        carry, update, of_control = self._controlled(carry, update, problem)
        info = {**info, **of_control}
        carry, metrics = self.metrics(carry, batch, stats)
        if carry.control is not None:
            metrics["doubts"] = {**metrics["doubts"], TAKEN_BACK: carry.control.goes_back}
        observed = self.observe(carry, batch, energies)
        metrics |= {name: found for name, (found, _) in observed.items()}
        if info:
            metrics["info"] = info
        carry = carry._replace(key=key, rule_state=rule_state)
        if s.following is not None:
            model_state = s.following.after(carry.params, carry.model_state, samples)
            carry = carry._replace(model_state=model_state)
        return carry, Proposal(stats, update, metrics)

    def _judged(self, carry: LatticeCarry, stats: nk.stats.Stats) -> LatticeCarry:
        """The carry with the decision whether the step goes back."""
        control = self.settings.control
        if control is None or carry.control is None:
            return carry
        numbers: Any = stats.mean.real, stats.variance.real, stats.error_of_mean.real
        return carry._replace(control=control.judge(carry.control, carry.good, *numbers))

    def _controlled(
        self, carry: LatticeCarry, update: PyTree, problem: Problem
    ) -> tuple[LatticeCarry, PyTree, Row]:
        """The carry with the length of the step, the update, and numbers to log."""
        control, state = self.settings.control, carry.control
        if control is None or state is None:
            return carry, update, {}
        back = state.goes_back
        update = jax.tree.map(lambda leaf: jnp.where(back, jnp.zeros_like(leaf), leaf), update)
        x, chunk = problem.samples, self.settings.chunk_size
        log_psi = self.log_psi(carry)
        before = in_chunks(lambda x: log_psi(carry.params, x), x, chunk)

        def at_length(scale: Array) -> Array:
            new = self._moved(carry, update, scale)[0]
            return in_chunks(lambda x: log_psi(new, x), x, chunk) - before

        state, info = control.shorten(state, at_length, problem.probabilities)
        return carry._replace(control=state), update, info

    def _moved(
        self, carry: LatticeCarry, update: PyTree, scale: Array | float
    ) -> tuple[PyTree, PyTree]:
        assert self.settings.optimizer is not None
        return optimizer_step(
            self.settings.optimizer,
            carry.params,
            carry.optimizer_state,
            update,
            carry.rate_scale * scale,
        )

    @override
    def apply(self, carry: LatticeCarry, update: PyTree) -> LatticeCarry:
        state = carry.control
        scale = 1.0 if state is None else state.scale
        params, optimizer_state = self._moved(carry, update, scale)
        carry = carry._replace(params=params, optimizer_state=optimizer_state)
        if state is None or state.good is None:
            return carry
        good = select(state.goes_back, state.good, carry.good)
        return carry._replace(**good._asdict())


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

    def sample(self, carry: LatticeCarry) -> tuple[LatticeCarry, Array]:
        """Samples of |psi|^2, shape (n_chains, chain_length, n_sites)."""
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
        watch = carry.watch
        if before is not None and before.shape == samples[:, 0].shape:
            watch = watch._replace(moved=jnp.any(samples != before[:, None]))
        return carry._replace(sampler_state=state, watch=watch), samples

    @override
    def sampling_doubts(
        self, watch: Watch, batch: Array, stats: nk.stats.Stats, acceptance: Array | None
    ) -> dict[str, Array]:
        is_markov = self.sampler is None or isinstance(self.sampler, nk.sampler.MetropolisSampler)
        chains = batch.shape[0], batch.shape[1]
        return of_sampling(watch, batch, stats, acceptance, chains if is_markov else None)

    def _energies(self, carry: SamplingCarry, params: PyTree, x: Array) -> Array:
        s = self.settings
        energy = LocalValues(self.operator, s.chunk_size, s.flips)
        return energy.evaluate(self.log_psi(carry), params, x, {})

    @override
    def observe(
        self, carry: SamplingCarry, batch: Array, energies: Array
    ) -> dict[str, tuple[PyTree, Array | None]]:
        samples, s = batch.reshape(-1, batch.shape[-1]), self.settings
        estimators, known = estimators_of(self.observables, s.chunk_size), {s.loss_name: energies}
        values = evaluate_all(estimators, self.log_psi(carry), carry.params, samples, known)
        return {
            name: statistics_of(estimator, values[name], batch.shape[:-1])
            for name, estimator in estimators.items()
        }

    @override
    def evaluate(
        self, carry: SamplingCarry, batch: Array
    ) -> tuple[nk.stats.Stats, Array, Array, None]:
        samples = batch.reshape(-1, batch.shape[-1])
        energies = self._energies(carry, carry.params, samples)
        stats = nk.stats.statistics(energies.reshape(batch.shape[:-1]))
        return stats, samples, energies, None

    def trial(self, carry: LatticeCarry, batch: Array, update: PyTree) -> Array:
        """The energy after `update`, the samples weighted by |psi_new / psi_old|^2."""
        samples = batch.reshape(-1, batch.shape[-1])
        new = self.apply(carry, update).params
        log_psi = self.log_psi(carry)
        log_weights = 2 * jnp.real(log_psi(new, samples) - log_psi(carry.params, samples))
        return jnp.sum(jax.nn.softmax(log_weights) * self._energies(carry, new, samples))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FullSumKernel(LatticeKernel):
    """Lattice VMC with a sum over all configurations in place of sampling."""

    matrix: JAXSparse
    """The Hamiltonian as a sparse matrix."""
    states: Array
    """All configurations, shape (n_states, n_sites)."""
    observables: dict[str, Observable]
    """Operators as sparse matrices, and other estimators."""
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
        self, carry: SamplingCarry, batch: PyTree, energies: Array
    ) -> dict[str, tuple[PyTree, Array | None]]:
        if not self.observables:
            return {}
        psi = self._amplitudes(carry, carry.params)
        states, probabilities = self._weighted(psi)
        found, known, estimators = {}, {self.settings.loss_name: energies}, {}
        for name, one in self.observables.items():
            if isinstance(one, Given):
                estimators[name] = one.estimator
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
