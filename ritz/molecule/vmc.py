"""The variational Monte Carlo driver of molecules."""

import functools
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.estimators.clipping import LossAndGrad
from ritz.molecule.driver import ENERGY, MoleculeDriver
from ritz.molecule.kernel import MoleculeCarry, Sampling, TrainingKernel
from ritz.molecule.molecule import Molecule
from ritz.molecule.multistate.kernel import MultiStateKernel
from ritz.molecule.multistate.overlap import OVERLAP_PENALTY, penalty_weights
from ritz.molecule.multistate.stacking import stacked
from ritz.molecule.state import ElectronState
from ritz.molecule.wavefunction import Psi
from ritz.samplers import RUNNING, AbstractSampler
from ritz.updates import SPRING, AbstractUpdateRule, Problem
from ritz.updates.carried_scale import CarriedScale, scale_array
from ritz.updates.optimizer_step import as_transformation
from ritz.updates.schedules import check_transformation

RATE, DELAY = 0.025, 1e4
"""Learning rate of SPRING at first, and the number of steps after which it has halved. Goldshlager
et al. have 0.05 for residuals that are half of those of `ritz.updates`."""

LARGEST_STEP = 1e-3**0.5
"""Largest norm of a step of the parameters at first (the same authors)."""

_OF_JAQMC = {
    "batch_size": "give n_walkers=512.",
    "iterations": "give it to run: driver.run(2000).",
    "burn_in": "call driver.burn_in(100) before driver.run.",
    "optim": "give update=KFAC() of ritz.updates, or optimizer=.",
    "width": "give it to the sampler: sampler=Metropolis(width=0.1).",
}
"""Settings of JaQMC's trainings -> what to give here."""


def default_rate(step: ArrayLike) -> Array:
    """The learning rate of SPRING, 0.025 / (1 + step / 10,000)."""
    return RATE / (1 + jnp.asarray(step) / DELAY)


def default_update() -> SPRING:
    """SPRING for molecules: damping 1e-3, momentum 0.99, steps of a norm of at most 0.032."""
    return SPRING(diag_shift=1e-3, momentum=0.99, norm_cap=LARGEST_STEP / RATE)


class VMC(MoleculeDriver):
    """Molecular VMC = Metropolis sampling + local energies + an update rule.

    Each row has the energy (the loss) in hartree, `kinetic` and `potential`, with their variances;
    `acceptance`, `width` and `autocorrelation_time` of the sampler; and how many local energies
    were `clipped` in the update.

    Several states are trained together, each with its own parameters, walkers and state of the
    rule, kept apart by penalties on their squared overlaps. Rows have all of that by state,
    `energy_0` and `acceptance_1` for example, and `overlap_0_1`, the squared overlap of two states;
    `energy`, the loss, is the mean over states of energies and penalties. Parameters and walkers
    are arrays with the states along their first axis.

    Args:
        molecule: The molecule.
        wavefunction: See `MoleculeDriver`.
        optimizer: An optax transformation of the direction of `update`, or a learning rate or
            schedule for `optax.sgd`; by default `default_rate`. Adam and other optimisers that
            rescale what they are given want `update=Gradient()`, as they undo the scales of SPRING.
        params: Initial parameters; those of a flax module are drawn by default.
        update: A rule of `ritz.updates`; by default `default_update()`, which is SPRING.
        loss_grads: How local energies are clipped in the update.
        sampler: A sampler of `ritz.samplers`; by default `default_sampler(molecule)`.
        n_walkers: Number of walkers, each of which gives one sample a step.
        estimators: Name -> estimator, besides those of the energies.
        energy: The estimator that is minimised.
        dtype: Type of the coordinates, "float32" or "float64", as the wave function has it.
        electrons: Initial positions, see `MoleculeDriver`.
        chunk_size: Number of walkers of which derivatives are computed at once; None for all.
        seed: Seed of all random numbers.
        n_states: Number of states, the lowest of which are looked for.
        overlap_penalty: Weight of the squared overlap of each two states in the energy of the
            higher one, in hartree: one number, or a symmetric matrix. It must exceed the
            difference of their energies. By default 2.

    Raises:
        TypeError: If an argument has the wrong type, with what to give instead.
        ValueError: If a value is not allowed, or two states begin with equal parameters.
    """

    adjustable: ClassVar[frozenset[str]] = frozenset({"rate_scale", "damping_scale"})
    gain: ClassVar[float] = RUNNING

    rate_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the optimiser's steps, set by callbacks; 1 by default."""
    damping_scale = CarriedScale()  # type: ignore[assignment]
    """Factor of the update rule's diagonal shift, set by callbacks; 1 by default."""

    @functools.partial(suggests_names, instead=_OF_JAQMC)
    def __init__(
        self,
        molecule: Molecule,
        wavefunction: nn.Module | Psi,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule = default_rate,
        *,
        params: PyTree = None,
        update: AbstractUpdateRule | None = None,
        loss_grads: LossAndGrad | None = None,
        sampler: AbstractSampler | None = None,
        n_walkers: int = 512,
        estimators: Mapping[str, object] | None = None,
        energy: str = ENERGY,
        dtype: str = "float32",
        electrons: Float[Array, "*n_states n_walkers n_electrons 3"] | None = None,
        chunk_size: int | None = None,
        seed: int = 0,
        n_states: int = 1,
        overlap_penalty: ArrayLike = OVERLAP_PENALTY,
    ):
        super().__init__(
            molecule=molecule,
            wavefunction=wavefunction,
            params=params,
            sampler=sampler,
            n_walkers=n_walkers,
            estimators=estimators,
            energy=energy,
            dtype=dtype,
            electrons=electrons,
            chunk_size=chunk_size,
            seed=seed,
            n_states=n_states,
        )
        self.overlap_weights = penalty_weights(overlap_penalty, n_states)
        update = default_update() if update is None else update
        if not isinstance(update, AbstractUpdateRule):
            raise TypeError(
                "update must be a rule of ritz.updates, such as SPRING(), but "
                f"{update!r} was given."
            )
        loss_grads = LossAndGrad() if loss_grads is None else loss_grads
        if not isinstance(loss_grads, LossAndGrad):
            raise TypeError(
                f"loss_grads must be a ritz.estimators.LossAndGrad, but {loss_grads!r} was given."
            )
        self.chunk_size, self.loss_grads = chunk_size, loss_grads
        self.rule, self.optimizer = update, as_transformation(optimizer)
        state: ElectronState = self.state
        self.mode = "complex" if state.wavefunction.is_complex else "real"
        with self._precision():
            states = [self._first_state(state.of_state(k)) for k in range(n_states)]
            self.optimizer_state, self.rule_state = states[0] if n_states == 1 else stacked(states)

    def _first_state(self, state: ElectronState) -> tuple[PyTree, PyTree]:
        """Of the optimiser and of the rule, for one state."""
        optimizer_state = check_transformation("optimizer", self.optimizer, state.parameters)
        return optimizer_state, self.rule.init(state.parameters, self._problem_of(state))

    def _problem_of(self, state: ElectronState) -> Problem:
        losses = jnp.zeros(state.n_walkers)
        return Problem(
            state.wavefunction, state.parameters, state.electrons, losses, mode=self.mode
        )

    @property
    def problem(self) -> Problem:
        """Log psi, parameters, mode and walkers of the first state, for `KFAC.blocks`."""
        state: ElectronState = self.state
        return self._problem_of(state.of_state(0))

    @property
    @override
    def kernel(self) -> TrainingKernel | MultiStateKernel:
        one = TrainingKernel(
            sampling=self._single,
            loss_grads=self.loss_grads,
            rule=self.rule,
            optimizer=self.optimizer,
            mode=self.mode,
            chunk_size=self.chunk_size,
        )
        if isinstance(self._sampling, Sampling):
            return one
        return MultiStateKernel(self._sampling, one, self.overlap_weights)

    @property
    @override
    def carry(self) -> MoleculeCarry:
        state: ElectronState = self.state
        return MoleculeCarry(
            params=state.parameters,
            sampler_state=state.sampler_state,
            optimizer_state=self.optimizer_state,
            rule_state=self.rule_state,
            key=self._key,
            rate_scale=scale_array(self, "rate_scale"),
            damping_scale=scale_array(self, "damping_scale"),
        )

    @carry.setter
    def carry(self, carry: MoleculeCarry) -> None:
        state: ElectronState = self.state
        state.parameters, state.sampler_state = carry.params, carry.sampler_state
        self.optimizer_state, self.rule_state = carry.optimizer_state, carry.rule_state
        self._key = carry.key

    @property
    @override
    def settings(self) -> dict[str, object]:
        state: ElectronState = self.state
        several = {"overlap_penalty": self.overlap_weights} if state.n_states > 1 else {}
        return {
            **super().settings,
            **several,
            "optimizer": self.optimizer,
            "update": self.rule,
            "loss_grads": self.loss_grads,
        }
