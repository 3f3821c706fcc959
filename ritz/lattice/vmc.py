"""The variational Monte Carlo driver on NetKet's states."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from netket.operator import AbstractOperator
from typing_extensions import override

from ritz.driver.processes.division import Division
from ritz.driver.signatures import suggests_names
from ritz.lattice.differentiating import DifferentiatingDriver
from ritz.lattice.driver import VariationalState
from ritz.lattice.kernels.kernel import LatticeCarry, LatticeKernel, StepSettings
from ritz.lattice.mode import checked_mode
from ritz.lattice.model_state import followed
from ritz.lattice.overlaps.kernel import OverlapCarry, OverlapKernel
from ritz.lattice.overlaps.targets import penalised
from ritz.lattice.sign_problem import warn_of_signs
from ritz.updates import AbstractUpdateRule, Problem, stochastic_reconfiguration
from ritz.updates.carried_scale import CarriedScale, scale_array
from ritz.updates.optimizer_step import as_transformation
from ritz.updates.schedules import check_transformation
from ritz.updates.step_control import ControlState, StepControl

DEFAULT_CONTROL = StepControl()
"""Bounds on steps that suit most runs."""

_OF_NETKET = {
    "preconditioner": "give a rule of ritz.updates instead, such as update=SR(diag_shift=0.01).",
    "diag_shift": "give it to the rule of ritz.updates: update=SR(diag_shift=0.01).",
    "use_ntk": "choose a rule of ritz.updates: update=MinSR() with it, update=SR() without.",
    "momentum": "give it to the rule of ritz.updates: update=SPRING(momentum=0.9).",
    "holomorphic": "give mode='holomorphic'.",
}
"""Arguments of NetKet's drivers -> what to give here."""


class VMC(DifferentiatingDriver):
    """Finds a ground state: lattice VMC = sampling + local energies + an update rule + optax.

    A warning is logged if log psi is real, so that psi is positive, and the Hamiltonian has
    positive off-diagonal elements, so that its ground state has signs.

    Each row has the energy's statistics as `Energy`, its V-score, the sampler's `acceptance` and
    the numbers of the update rule as `info`.

    Args:
        hamiltonian: An operator of NetKet that has a JAX form.
        optimizer: An optax transformation; a number or schedule stands for `optax.sgd` with it.
        variational_state: NetKet's `MCState` or `FullSumState`. The driver changes it, and
            follows changes of its settings (samples, chunk size) between steps.
        update: A rule of `ritz.updates`. By default `SR`, or `MinSR` if there are more parameters
            than samples, see `ritz.updates.stochastic_reconfiguration`.
        mode: "real", "complex" or "holomorphic", see `ritz.updates.Problem`; by default "real" if
            parameters are real and log psi is, or has a phase that they do not change (as real
            determinants have), otherwise "complex". One that the model contradicts
            at random parameters is refused.
        chunk_size_bwd: How many samples are differentiated at once; by default the state's
            `chunk_size`.
        energy_offset: The energy at infinite temperature, for the V-score; zero for spin models
            without a constant.
        n_dof: The number of particles for the V-score; by default the number of sites, or of
            fermions where it is fixed.
        seed: Seed of the random numbers in update rules.
        single_scores: Whether the derivatives of log psi, and the products of them that SR and its
            relatives need, are computed in single precision. Energies, and the solution of the
            linear system, stay in double: two to four times faster where those products dominate.
            `KFAC` and `Gradient`, which have no such products, take no notice.
        step_control: Bounds on the steps, by default `StepControl()`: steps that would change the
            state too much are shortened, and those after which the loss explodes (the energy,
            with its penalties) are taken back. None for the steps of rule and optimiser as they
            are.
        local_updates: Whether local energies use the model's `LocalUpdate`, if it offers one.
        blas_threads: Number of threads that BLAS may use during runs. More than one compete with
            those of XLA; None leaves the number unchanged, which may be better on many cores
            for systems of thousands of unknowns.
        observables: Name -> operator, `ritz.estimators.AbstractEstimator` or function (params,
            sample) -> value: what is estimated on the samples of each step. They are part of the
            compiled step, as `obs` of `run` is not.
        orthogonal_to: States of NetKet, such as the ground state and lower excited ones, of the
            type of `variational_state` and with as many samples. Their squared overlaps with the
            wave function, which rows have as `overlaps`, are added to the loss, so that the next
            excited state is found. The energy in rows is that of the Hamiltonian alone.
        penalty: Factor of each overlap: a number, or one for each state, larger than the distance
            of that state's energy to the one that is sought.
        loss_name: Name of the energy in rows.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If Hamiltonian and state live on different spaces, the Hamiltonian is not
            Hermitian, or a value is not allowed.
    """

    adjustable = frozenset({"rate_scale", "damping_scale", "chunk_sizes"})

    rate_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the optimiser's steps, set by callbacks; 1 by default."""
    damping_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the update rule's diagonal shift, set by callbacks; 1 by default."""

    @functools.partial(suggests_names, instead=_OF_NETKET)
    def __init__(
        self,
        hamiltonian: AbstractOperator,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule,
        *,
        variational_state: VariationalState,
        update: AbstractUpdateRule | None = None,
        mode: str | None = None,
        chunk_size_bwd: int | None = None,
        energy_offset: float = 0.0,
        n_dof: int | None = None,
        seed: int = 0,
        single_scores: bool = False,
        step_control: StepControl | None = DEFAULT_CONTROL,
        local_updates: bool = True,
        blas_threads: int | None = 1,
        observables: Mapping[str, object] | None = None,
        orthogonal_to: Sequence[VariationalState] = (),
        penalty: float | Sequence[float] | None = None,
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
        state: Any = variational_state
        n_samples = state.hilbert.n_states if self._sums else state.n_samples
        if update is None:
            update = stochastic_reconfiguration(state.n_parameters, n_samples)
        if not isinstance(update, AbstractUpdateRule):
            kind = f"{type(update).__module__}.{type(update).__qualname__}"
            raise TypeError(
                f"update must be a rule of ritz.updates, such as ritz.updates.SR(), but a {kind} "
                f"was given: {update!r}."
            )
        self.rule = update
        self.optimizer = as_transformation(optimizer)
        self.mode = checked_mode(mode, state, self._log_psi, phases_move=False)
        if not self.takes_mixed:
            warn_of_signs(self._operator, self._log_psi, state.parameters)
        self.chunk_size_bwd = chunk_size_bwd
        self.single_scores = single_scores
        if not (step_control is None or isinstance(step_control, StepControl)):
            raise TypeError(
                "step_control must be a ritz.updates.StepControl or None, but "
                f"{step_control!r} was given."
            )
        self.step_control = step_control
        self._control: ControlState | None = None
        self._controlled: PyTree = None
        self._key = jax.random.key(seed)
        self.optimizer_state = check_transformation("optimizer", self.optimizer, state.parameters)
        self.rule_state = update.init(state.parameters, self.problem)
        self._targets = penalised(orthogonal_to, penalty, state)

    @property
    def problem(self) -> Problem:
        """Log psi, parameters, mode and shape of the samples, as `KFAC.blocks` takes them."""
        state: Any = self.state
        drawn = state.hilbert.random_state(jax.random.key(0), 1)
        dtype = drawn.dtype if self._sums else state.sampler.dtype
        samples = jax.ShapeDtypeStruct(drawn.shape, dtype)
        return Problem(self._log_psi, self.state.parameters, samples, jnp.zeros(1), mode=self.mode)

    @property
    @override
    def kernel(self) -> LatticeKernel | OverlapKernel:
        state = self.state
        settings = StepSettings(
            apply_fun=state._apply_fun,
            rule=self.rule,
            optimizer=self.optimizer,
            mode=self.mode,
            chunk_size=state.chunk_size,
            chunk_size_bwd=self.chunk_size_bwd or state.chunk_size,
            n_dof=self.n_dof,
            energy_offset=self.energy_offset,
            single_scores=self.single_scores,
            flips=self._flips,
            control=self.step_control,
            loss_name=self.loss_name,
            following=followed(state),
            division=Division(self._mesh),
        )
        kernel = self._lattice_kernel(settings)
        return self._targets.kernel(kernel) if self._targets else kernel

    @property
    @override
    def carry(self) -> LatticeCarry | OverlapCarry:
        state = self.state
        carry = LatticeCarry(
            params=state.parameters,
            model_state=state.model_state,
            sampler_state=self._carried_sampler,
            optimizer_state=self.optimizer_state,
            rule_state=self.rule_state,
            key=self._key,
            rate_scale=scale_array(self, "rate_scale"),
            damping_scale=scale_array(self, "damping_scale"),
            watch=self._watch,
            control=None,
        )
        carry = carry._replace(control=self._control_of(carry))
        return self._targets.carry(carry) if self._targets else carry

    def _control_of(self, carry: LatticeCarry) -> ControlState | None:
        """Memory of the step control; a new one if a callback has changed what it is about."""
        if self.step_control is None:
            return None
        known = self._control
        if known is not None and _is_same(carry.params, self._controlled):
            good = known.good
            if good is None or _shapes(good) == _shapes(carry.good):
                return known
        return self.step_control.begin(carry.good)

    @carry.setter
    def carry(self, carry: LatticeCarry | OverlapCarry) -> None:
        if isinstance(carry, OverlapCarry):
            carry = self._targets.put(carry)
        self._put(carry)
        self._control, self._controlled = carry.control, self.state.parameters
        self.optimizer_state = carry.optimizer_state
        self.rule_state = carry.rule_state
        self._key, self._watch = carry.key, carry.watch

    @override
    def burn_in(self, n_steps: int) -> None:
        """Let chains equilibrate, also those of states whose overlaps are part of the loss."""
        super().burn_in(n_steps)
        self._targets.burn_in(n_steps)

    @property
    @override
    def settings(self) -> dict[str, object]:
        return {
            **super().settings,
            "optimizer": self.optimizer,
            "update": self.rule,
            "mode": self.mode,
            "single_scores": self.single_scores,
            "step_control": self.step_control,
            **(self._targets.settings if self._targets else {}),
        }


def _is_same(one: PyTree, other: PyTree) -> bool:
    """Whether two trees hold the very same arrays."""
    first, second = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _shapes(tree: PyTree) -> tuple[object, list[tuple[tuple[int, ...], object]]]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
