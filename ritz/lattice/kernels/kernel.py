"""A step of lattice VMC as pure functions: sample, propose, apply."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import jax
import jax.numpy as jnp
import netket as nk
import optax
from jaxtyping import Array, Float, Inexact, Key, PyTree
from typing_extensions import override

from ritz.driver import Kernel, Proposal
from ritz.driver.kernel import TAKEN_BACK
from ritz.driver.processes.division import ONE_DEVICE, Division
from ritz.lattice.doubts import Watch, of_explosion, of_variance
from ritz.lattice.flips import Flips
from ritz.lattice.model_state import Following
from ritz.lattice.operators import in_chunks, v_score
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


class Altered(NamedTuple):
    """A loss other than the energy."""

    logged: nk.stats.Stats
    """What rows have in the place of the energy."""
    loss: nk.stats.Stats
    """Mean, standard error and variance of the loss, by which steps are judged."""
    local: Inexact[Array, " n"]
    """Local losses."""


Alter = Callable[..., Altered]
"""(statistics, samples, local energies, probabilities) -> the loss."""


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LogPsi:
    """`(params, samples) -> log psi` with variables that are no parameters."""

    apply_fun: Callable[[PyTree, Array], Array] = dataclasses.field(metadata={"static": True})
    model_state: PyTree

    def __call__(self, params: PyTree, samples: Array) -> Inexact[Array, " n"]:
        """Log psi of a batch."""
        return self.apply_fun({"params": params, **self.model_state}, samples)


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Static settings of a compiled step; hashable."""

    apply_fun: Callable[[PyTree, Array], Array]
    """`(variables, samples) -> log psi`."""
    chunk_size: int | None
    n_dof: int
    energy_offset: float
    rule: AbstractUpdateRule | None = None
    """None in evaluations, as for `optimizer`."""
    optimizer: optax.GradientTransformation | None = None
    mode: str = ""
    """Of derivatives; empty where there are none."""
    chunk_size_bwd: int | None = None
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
    division: Division = ONE_DEVICE
    """The devices that share the samples."""


class LatticeKernel(Kernel):
    """Base class of the kernels for sampling and full summation."""

    settings: StepSettings

    def log_psi(self, carry: SamplingCarry) -> LogPsi:
        """`(params, samples) -> log psi` with the carry's model state."""
        return LogPsi(self.settings.apply_fun, carry.model_state or {})

    @abc.abstractmethod
    def evaluate(
        self, carry: SamplingCarry, batch: PyTree
    ) -> tuple[nk.stats.Stats, Array, Inexact[Array, " n"], Array | None]:
        """Statistics of the energy; configurations, local energies and probabilities.

        The probabilities sum to one; None stands for equal ones.
        """

    @abc.abstractmethod
    def observe(
        self,
        carry: SamplingCarry,
        batch: PyTree,
        energies: Array,
        probabilities: Array | None = None,
    ) -> dict[str, tuple[PyTree, Array | None]]:
        """What is logged of each observable, and its values by chain, if there are any.

        Args:
            carry: The carry.
            batch: The samples.
            energies: The local energies from `evaluate`.
            probabilities: Those of the samples from `evaluate`, which are computed if not given.
        """

    def by_chain(self, batch: PyTree, energies: Array, probabilities: Array | None) -> Array | None:
        """The local energies by chain, for R-hat; None for a full sum."""
        return None

    def metrics(
        self,
        carry: Carry,
        batch: PyTree,
        stats: nk.stats.Stats,
        probabilities: Array | None = None,
        loss: nk.stats.Stats | None = None,
    ) -> tuple[Carry, Row]:
        """Metrics besides the energy, and the carry with the data for the next step's doubts.

        Args:
            carry: The carry.
            batch: The samples.
            stats: Statistics of the energy.
            probabilities: Those of the samples from `evaluate`, which are computed if not given.
            loss: Statistics of the loss, if it is not the energy.
        """
        s = self.settings
        loss = stats if loss is None else loss
        found: Row = {"v_score": v_score(stats.mean, stats.variance, s.n_dof, s.energy_offset)}
        watch, jumped = of_variance(carry.watch, loss)
        doubts = {"variance": jumped}
        accepted = getattr(carry.sampler_state, "n_accepted_proc", None)
        if accepted is not None:
            found["acceptance"] = jnp.sum(accepted) / carry.sampler_state.n_steps_proc
        found |= self.weighting(carry, batch, probabilities)
        of_samples = self.sampling_doubts(watch, batch, stats, found)
        if of_samples:
            doubts |= of_samples
            watch, doubts["exploded"] = of_explosion(watch, loss, found.get("acceptance"), doubts)
        return carry._replace(watch=watch), {**found, "doubts": doubts}

    def weighting(self, carry: SamplingCarry, batch: PyTree, probabilities: Array | None) -> Row:
        """The effective fraction of weighted samples, as `ess`; empty for a full sum."""
        return {}

    def sampling_doubts(
        self, watch: Watch, batch: Array, stats: nk.stats.Stats, metrics: Row
    ) -> dict[str, Array]:
        """Doubts about the samples; none for a full sum."""
        return {}

    def estimate(
        self, carry: Carry, batch: PyTree
    ) -> tuple[Carry, nk.stats.Stats, Row, dict[str, Array]]:
        """Estimate everything, see `ritz.estimators.EstimatingKernel`."""
        stats, _, energies, probabilities = self.evaluate(carry, batch)
        observed = self.observe(carry, batch, energies, probabilities)
        carry, metrics = self.metrics(carry, batch, stats, probabilities)
        metrics |= {name: found for name, (found, _) in observed.items()}
        values = {name: inner for name, (_, inner) in observed.items() if inner is not None}
        by_chain = self.by_chain(batch, energies, probabilities)
        if by_chain is not None:
            values[self.settings.loss_name] = by_chain
        return carry, stats, metrics, values

    @override
    def propose(
        self, carry: LatticeCarry, batch: Array, alter: Alter | None = None
    ) -> tuple[LatticeCarry, Proposal]:
        s = self.settings
        assert s.rule is not None
        stats, samples, energies, probabilities = self.evaluate(carry, batch)
        altered = alter and alter(stats, samples, energies, probabilities)
        stats, loss, losses = altered or (stats, stats, energies)
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
            division=s.division,
        )
        carry = self._judged(carry, loss, problem.n_samples)
        key, own = jax.random.split(carry.key)
        update, rule_state, info = s.rule.update(carry.rule_state, problem, carry.params, own)
        carry, update, of_length = self._controlled(carry, update, problem)
        if carry.control is not None:
            rule_state = s.rule.shortened(rule_state, carry.control.scale)
        info = {**info, **of_length}
        carry, metrics = self.metrics(carry, batch, stats, probabilities, loss)
        if carry.control is not None:
            of_control = {TAKEN_BACK: carry.control.goes_back, "stuck": carry.control.is_stuck}
            metrics["doubts"] = {**metrics["doubts"], **of_control}
        observed = self.observe(carry, batch, energies, probabilities)
        metrics |= {name: found for name, (found, _) in observed.items()}
        if info:
            metrics["info"] = info
        carry = carry._replace(key=key, rule_state=rule_state)
        if s.following is not None:
            model_state = s.following.after(carry.params, carry.model_state, samples)
            carry = carry._replace(model_state=model_state)
        return carry, Proposal(stats, update, metrics)

    def _judged(self, carry: LatticeCarry, loss: nk.stats.Stats, n: int) -> LatticeCarry:
        """The carry with the decision whether the step goes back."""
        control = self.settings.control
        if control is None or carry.control is None:
            return carry
        mean: Any = loss.mean.real
        error: Any = loss.error_of_mean.real
        variance: Any = loss.variance.real
        # Few chains of one sample each have no error bar.
        error = jnp.where(jnp.isfinite(error), error, jnp.sqrt(variance / n))
        judged = control.judge(carry.control, carry.good, mean, variance, error)
        return carry._replace(control=judged)

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
