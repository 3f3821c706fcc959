"""Steps of variational Monte Carlo of which the nuclei move between geometries."""

import abc
import dataclasses
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
from ritz.molecule.kernel import Samples, TrainingKernel
from ritz.molecule.rigid import without_rigid_motion
from ritz.samplers import SamplerState
from ritz.types import Row

MOVING, FINISHED, UNFINISHED, FAILED = range(4)
"""States of a run: nuclei still move; the last geometry is done, or criteria are met; as many
moves as allowed were made without meeting them; a measured number is not finite."""

N_BLOCKS = 10
"""Number of parts into which the steps of a measurement are divided for its error."""


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
        """Its memory with a measurement, and the status of the run."""

    @abc.abstractmethod
    def move(self, nuclei: Nuclei) -> tuple[PyTree, Float[Array, "n_nuclei 3"]]:
        """Its memory and the positions, in bohr, after a move from a measured geometry."""

    def row(self, nuclei: Nuclei) -> Row:
        """What it logs."""
        return {}

    @abc.abstractmethod
    def ending(self, status: int, row: Row) -> str:
        """Why the run has ended, in words, given the row of its last step."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MovingKernel(TrainingKernel):
    """Molecular VMC at one geometry after another: training, a measurement, and a move.

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
        nuclei = self._with_step(nuclei, carry.params, batch, energy.mean, values)
        measured = self._summary(nuclei)
        memory, status = self.mover.judge(nuclei, measured)
        nuclei = jax.tree.map(
            lambda new, old: jnp.where(ends, new, old),
            nuclei._replace(measured=measured, mover=memory, status=status),
            nuclei,
        )
        metrics = {**others, **here.sampling.drawing(batch), **told}
        metrics |= {"geometry": nuclei.geometry, "measures": measures, "status": nuclei.status}
        metrics |= self.mover.row(nuclei)
        carry = carry._replace(key=key, rule_state=rule_state, nuclei=nuclei)
        return carry, Proposal(energy, update, metrics)

    def _with_step(
        self,
        nuclei: Nuclei,
        params: PyTree,
        batch: Samples,
        energy: Float[Array, ""],
        values: Mapping[str, Values],
    ) -> Nuclei:
        """The nuclei with the mean energy and forces of a step of the measurement."""
        place = jnp.maximum(nuclei.step - self._n_trained(nuclei), 0)
        nuclei = nuclei._replace(
            energies=nuclei.energies.at[place].set(jnp.real(energy).astype(float))
        )
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
        return Measured(*_with_error(nuclei.energies), *_with_error(forces))

    @override
    def apply(self, carry: Any, update: PyTree) -> Any:
        carry = jax.lax.cond(
            self._measures(carry.nuclei),
            lambda: carry,
            lambda: TrainingKernel.apply(self, carry, update),
        )
        nuclei = carry.nuclei
        moves = self._ends(nuclei) & (nuclei.status == MOVING)
        carry = carry._replace(
            nuclei=nuclei._replace(step=jnp.where(self._ends(nuclei), nuclei.step, nuclei.step + 1))
        )
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


def _with_error(steps: Float[Array, "n ..."]) -> tuple[Array, Array]:
    """The mean over steps, and its standard error from the means of parts of them."""
    length = max(len(steps) // N_BLOCKS, 1)
    n_parts = len(steps) // length
    parts = steps[: n_parts * length].reshape(n_parts, length, *steps.shape[1:])
    error = jnp.std(jnp.mean(parts, axis=1), axis=0, ddof=1) / n_parts**0.5
    return jnp.mean(steps, axis=0), error
