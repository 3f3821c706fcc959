"""Steps of variational Monte Carlo of which the nuclei move between geometries."""

import abc
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree
from typing_extensions import override

from ritz.driver import Proposal
from ritz.estimators.base import Values
from ritz.molecule.estimators.forces import Forces
from ritz.molecule.estimators.space_warp import warp_weights
from ritz.molecule.estimators.standard import ENERGY
from ritz.molecule.geometry.rigid import without_rigid_motion
from ritz.molecule.kernel import Samples, TrainingKernel
from ritz.samplers import SamplerState
from ritz.types import Row


class Status(enum.IntEnum):
    """States of a run in which nuclei move."""

    MOVING = 0
    FINISHED = 1
    """The last geometry is measured, or criteria are met."""
    UNFINISHED = 2
    """As many moves as allowed were made without meeting the criteria."""
    FAILED = 3
    """A measured number is not finite."""

    @property
    def word(self) -> str:
        """The name in small letters."""
        return self.name.lower()


FEWEST_BLOCKS = 10
"""Smallest number of blocks of steps from which an error is estimated, and so of steps."""


class Measured(NamedTuple):
    """Energy and forces at a geometry, with one standard error of each."""

    energy: Float[Array, ""]
    """In hartree."""
    energy_error: Float[Array, ""]
    forces: Float[Array, "n_nuclei 3"]
    """In hartree/bohr, without what would move or turn the molecule as a whole."""
    force_errors: Float[Array, "n_nuclei 3"]


class Nuclei(NamedTuple):
    """Where the nuclei are, and what was measured there."""

    positions: Float[Array, "n_nuclei 3"]
    """In bohr."""
    geometry: Int[Array, ""]
    """Number of the geometry, from 0."""
    step: Int[Array, ""]
    """Number of steps at this geometry."""
    energies: Float[Array, " n_measured"]
    """Mean energy of each step of the measurement."""
    forces: Float[Array, "n_measured n_nuclei 3"]
    """Mean forces of each step; empty where no forces are measured."""
    measured: Measured
    """Of the last geometry at which the measurement is complete."""
    status: Int[Array, ""]
    mover: PyTree
    """The memory of what moves the nuclei."""


class MovingCarry(NamedTuple):
    """All that the next step needs: the fields of `MoleculeCarry`, and the nuclei."""

    params: PyTree
    sampler_state: SamplerState
    optimizer_state: PyTree
    rule_state: PyTree
    key: Key[Array, ""]
    rate_scale: Float[Array, ""]
    damping_scale: Float[Array, ""]
    nuclei: Nuclei


class Mover(abc.ABC):
    """Decides where the nuclei go after a measurement; hashable."""

    @abc.abstractmethod
    def start(self, positions: Float[Array, "n_nuclei 3"]) -> PyTree:
        """Its memory before the first move."""

    @abc.abstractmethod
    def judge(self, nuclei: Nuclei, measured: Measured) -> tuple[PyTree, Int[Array, ""]]:
        """Its memory with a complete measurement, and the status of the run; a pure function."""

    @abc.abstractmethod
    def move(self, nuclei: Nuclei) -> tuple[PyTree, Float[Array, "n_nuclei 3"]]:
        """Its memory and the positions, in bohr, after a move from `nuclei.measured`."""

    def row(self, nuclei: Nuclei) -> Row:
        """What it adds to rows by name, of the last complete measurement in `nuclei.measured`."""
        return {}

    @abc.abstractmethod
    def ending(self, status: Status, row: Row) -> str:
        """Why the run has ended, in words, given the row of its last step."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MovingKernel(TrainingKernel):
    """Molecular VMC of nuclei that move = training + a measurement + a move, again and again.

    While energy and forces are measured, the parameters rest.
    """

    mover: Mover = dataclasses.field(metadata={"static": True})
    forces: Forces | None = dataclasses.field(metadata={"static": True})
    """The estimator of the forces; None if none are measured."""
    n_first: int = dataclasses.field(metadata={"static": True})
    """Number of steps of training at the first geometry."""
    n_updates: int = dataclasses.field(metadata={"static": True})
    """Number of steps of training at each further geometry."""
    n_measured: int = dataclasses.field(metadata={"static": True})
    """Number of steps of each measurement."""

    def _here(self, carry: MovingCarry) -> TrainingKernel:
        """The kernel with the nuclei where they are."""
        log_psi = self.sampling.log_psi.with_nuclei(carry.nuclei.positions)
        return TrainingKernel(
            sampling=dataclasses.replace(self.sampling, log_psi=log_psi),
            loss_grads=self.loss_grads,
            rule=self.rule,
            optimizer=self.optimizer,
            mode=self.mode,
            chunk_size=self.chunk_size,
        )

    def _n_trained(self, nuclei: Nuclei) -> Int[Array, ""]:
        return jnp.where(nuclei.geometry == 0, self.n_first, self.n_updates)

    def _measures(self, nuclei: Nuclei) -> Bool[Array, ""]:
        return nuclei.step >= self._n_trained(nuclei)

    def _ends(self, nuclei: Nuclei) -> Bool[Array, ""]:
        return nuclei.step == self._n_trained(nuclei) + self.n_measured - 1

    @override
    def sample(self, carry: Any) -> tuple[Any, Samples]:
        return self._here(carry).sample(carry)

    @override
    def propose(self, carry: Any, batch: Samples) -> tuple[Any, Proposal]:
        here, nuclei = self._here(carry), carry.nuclei
        values = here.sampling.values(carry.params, batch)
        energy, others = here.sampling.estimates(values)
        energies = values[self.sampling.loss]

        def train() -> tuple[Any, ...]:
            key, now = jax.random.split(carry.key)
            update, rule_state, info, n_clipped = here.direction(
                carry.params,
                batch.electrons,
                energies,
                carry.rule_state,
                now,
                damping_scale=carry.damping_scale,
            )
            told = {"clipped": n_clipped, **({"info": info} if info else {})}
            return key, rule_state, update, told

        def rest() -> tuple[Any, ...]:
            _, _, update, told = jax.eval_shape(train)
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (update, told))
            return carry.key, carry.rule_state, *zeros

        measures, ends = self._measures(nuclei), self._ends(nuclei)
        key, rule_state, update, told = jax.lax.cond(measures, rest, train)
        nuclei = self._with_step(nuclei, carry.params, batch, values)
        carry = carry._replace(key=key, rule_state=rule_state, nuclei=nuclei)
        # Of a step that is rejected nothing may remain: `apply` does the same again, and keeps it.
        judged = jax.lax.cond(ends, self._judged, lambda nuclei: nuclei, nuclei)
        metrics = {**others, **here.sampling.drawing(batch), **told}
        metrics |= {"geometry": nuclei.geometry, "measures": measures, "status": judged.status}
        metrics |= self.mover.row(judged)
        return carry, Proposal(energy, update, metrics)

    def _judged(self, nuclei: Nuclei) -> Nuclei:
        """The nuclei with a complete measurement, and what follows from it."""
        measured = self._summary(nuclei)
        memory, status = self.mover.judge(nuclei, measured)
        return nuclei._replace(measured=measured, mover=memory, status=status)

    def _with_step(
        self,
        nuclei: Nuclei,
        params: PyTree,
        batch: Samples,
        values: Mapping[str, Values],
    ) -> Nuclei:
        """The nuclei with the mean energy and forces of a step of the measurement."""
        place = jnp.maximum(nuclei.step - self._n_trained(nuclei), 0)
        # Also where an energy with a penalty is minimised.
        energies: Any = values[ENERGY if ENERGY in values else self.sampling.loss]
        mean = jnp.mean(jnp.real(energies).astype(float))
        nuclei = nuclei._replace(energies=nuclei.energies.at[place].set(mean))
        estimator = self.forces
        if estimator is None:
            return nuclei
        log_psi = self.sampling.log_psi.with_nuclei(nuclei.positions)

        def forces() -> Array:
            found = estimator.evaluate(log_psi, params, batch.electrons, values)
            return estimator.reduce(found).mean.astype(float)

        shape = nuclei.forces.shape[1:]
        found = jax.lax.cond(self._measures(nuclei), forces, lambda: jnp.zeros(shape))
        return nuclei._replace(forces=nuclei.forces.at[place].set(found))

    def _summary(self, nuclei: Nuclei) -> Measured:
        """Means over the steps of a measurement, with errors from the means of its parts."""
        forces = nuclei.forces
        if self.forces is not None:
            forces = without_rigid_motion(forces, nuclei.positions)
        return Measured(*mean_and_error(nuclei.energies), *mean_and_error(forces))

    @override
    def apply(self, carry: Any, update: PyTree) -> Any:
        ends = self._ends(carry.nuclei)
        carry = jax.lax.cond(
            self._measures(carry.nuclei),
            lambda: carry,
            lambda: TrainingKernel.apply(self, carry, update),
        )
        return jax.lax.cond(ends, self._next_geometry, self._counted, carry)

    def _counted(self, carry: MovingCarry) -> MovingCarry:
        return carry._replace(nuclei=carry.nuclei._replace(step=carry.nuclei.step + 1))

    def _next_geometry(self, carry: MovingCarry) -> MovingCarry:
        """The carry after the last step of a measurement."""
        carry = carry._replace(nuclei=self._judged(carry.nuclei))
        moves = carry.nuclei.status == Status.MOVING
        return jax.lax.cond(moves, self._moved, lambda carry: carry, carry)

    def _moved(self, carry: MovingCarry) -> MovingCarry:
        """The carry at the next geometry; electrons follow the nuclei near them."""
        nuclei, state = carry.nuclei, carry.sampler_state
        memory, positions = self.mover.move(nuclei)
        number = state.positions.dtype
        shift = (positions - nuclei.positions).astype(number)
        old = nuclei.positions.astype(number)
        electrons = jax.vmap(lambda x: x + warp_weights(x, old) @ shift)(state.positions)
        return carry._replace(
            sampler_state=state._replace(positions=electrons),
            nuclei=nuclei._replace(
                positions=positions,
                geometry=nuclei.geometry + 1,
                step=jnp.zeros_like(nuclei.step),
                mover=memory,
            ),
        )

    @override
    def trial(self, carry: Any, batch: Samples, update: PyTree) -> Array:
        return self._here(carry).trial(carry, batch, update)

    def first_nuclei(self, positions: Float[Array, "n_nuclei 3"]) -> Nuclei:
        """The nuclei before the first step."""
        zero, n = jnp.zeros((), jnp.int32), self.n_measured
        forces = jnp.zeros((n, *positions.shape) if self.forces is not None else (n, 0, 3))
        infinite = jnp.full((), jnp.inf, float)
        of_each = jnp.full(forces.shape[1:], jnp.inf, float)
        return Nuclei(
            positions=positions,
            geometry=zero,
            step=zero,
            energies=jnp.zeros(n),
            forces=forces,
            measured=Measured(infinite, infinite, of_each, of_each),
            status=zero,
            mover=self.mover.start(positions),
        )


def mean_and_error(steps: Float[Array, "n ..."]) -> tuple[Array, Array]:
    """The mean over steps of a chain, and its standard error.

    Steps are joined in blocks of 1, 2, 4, ... of them, and the largest error is taken of those from
    the means of at least ten blocks (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989), so that
    correlations between up to a tenth of all steps are counted.
    """
    n, length, errors = len(steps), 1, []
    while length == 1 or n // length >= FEWEST_BLOCKS:
        blocks = n // length
        parts = steps[: blocks * length].reshape(blocks, length, *steps.shape[1:])
        errors.append(jnp.std(jnp.mean(parts, axis=1), axis=0, ddof=1) / blocks**0.5)
        length *= 2
    return jnp.mean(steps, axis=0), jnp.max(jnp.stack(errors), axis=0)
