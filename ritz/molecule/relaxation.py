"""Relaxation of molecules: nuclei follow the forces of variational Monte Carlo."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase.data import atomic_masses
from ase.units import Bohr, Hartree
from flax import linen as nn
from jaxtyping import Array, Float, Int, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.molecule.estimators.forces import Forces
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.moving import (
    Measured,
    Mover,
    Nuclei,
    Status,
)
from ritz.molecule.moving_vmc import NOT_TAKEN, MovingVMC
from ritz.molecule.vmc import VMC, default_rate
from ritz.molecule.wavefunction import Psi
from ritz.relax.algorithms.lbfgs import LBFGS
from ritz.relax.algorithms.optimizer import AbstractOptimizer
from ritz.relax.algorithms.stage import StructureState
from ritz.relax.batching.batch import Atoms, Geometry
from ritz.relax.observation.quantities import Observables, quantity
from ritz.types import Row

FORCE = Hartree / Bohr
"""Hartree/bohr in eV/Angstrom."""

CRITERIA = ("fmax", "energy", "energy_per_atom", "energy_change", "energy_change_per_atom",
            "steps", "forces", "positions")  # fmt: skip
"""Quantities of `ritz.relax` that molecules have."""


_NOT_TAKEN = NOT_TAKEN | {
    "fmax": "give stage=LBFGS(convergence_hook=ConvergenceHook.from_fmax(0.1)), for example."
}


class RelaxMemory(NamedTuple):
    """What a relaxation remembers of earlier geometries."""

    stage: PyTree
    """The state of the optimiser."""
    n_moves: Int[Array, ""]
    counter: Int[Array, ""]
    """Number of measurements in a row that met the criteria."""
    last_energy: Float[Array, ""]
    """In eV."""


@dataclasses.dataclass(frozen=True)
class RelaxMover(Mover):
    """Moves nuclei by an optimiser of `ritz.relax`, whose criteria end the run.

    Args:
        stage: The optimiser.
        numbers: Atomic numbers.
    """

    stage: AbstractOptimizer
    numbers: tuple[int, ...]

    @override
    def start(self, positions: Float[Array, "n_nuclei 3"]) -> RelaxMemory:
        zero = jnp.zeros((), jnp.int32)
        forces = jnp.zeros_like(positions)
        state, _ = self.stage.enter(self._structure(positions, forces, jnp.zeros(())))
        return RelaxMemory(state, zero, zero, jnp.full((), jnp.inf, float))

    def _structure(self, positions: Array, forces: Array, energy: Array) -> StructureState:
        """A structure in ASE's units, from positions and forces in theirs."""
        nothing, n = jnp.zeros_like(positions), len(self.numbers)
        return StructureState(
            positions=positions,
            velocities=nothing,
            cell=jnp.zeros((3, 3), positions.dtype),
            energy=energy,
            forces=forces,
            virial=jnp.zeros((3, 3), positions.dtype),
            masses=jnp.asarray(self._masses, positions.dtype),
            movable=jnp.ones(positions.shape, bool),
            n_atoms=jnp.asarray(n),
            key=jax.random.key(0),
        )

    @property
    def _masses(self) -> Float[np.ndarray, " n_nuclei"]:
        return atomic_masses[list(self.numbers)]

    @override
    def judge(self, nuclei: Nuclei, measured: Measured) -> tuple[RelaxMemory, Array]:
        memory: RelaxMemory = nuclei.mover
        hook = self.stage.convergence_hook
        assert hook is not None  # optimisers always have one
        rule = hook.rule
        energy, forces = measured.energy * Hartree, measured.forces * FORCE
        n = len(self.numbers)
        atoms = Atoms(
            numbers=jnp.asarray([self.numbers]),
            masses=jnp.asarray([self._masses]),
            mask=jnp.ones((1, n), bool),
            movable=jnp.ones((1, n, 3), bool),
            pbc=jnp.zeros((1, 3), bool),
        )
        cell = jnp.zeros((1, 3, 3))
        seen = Observables(
            geometry=Geometry(nuclei.positions[None] * Bohr, cell),
            atoms=atoms,
            velocities=jnp.zeros((1, n, 3)),
            energy=energy[None],
            last_energy=memory.last_energy[None],
            forces=forces[None],
            virial=cell,
            fmax=largest(forces)[None],
            steps=memory.n_moves[None],
        )
        met, nan = (x[0] for x in rule.evaluate(lambda name: quantity(name, seen)))
        looked = memory.n_moves % rule.frequency == 0
        counter = jnp.where(looked, jnp.where(met, memory.counter + 1, 0), memory.counter)
        finite = jnp.isfinite(energy) & jnp.all(jnp.isfinite(forces))
        status = jnp.where(looked & met & (counter > rule.patience), Status.FINISHED, Status.MOVING)
        if self.stage.max_steps is not None:
            spent = (status == Status.MOVING) & (memory.n_moves >= self.stage.max_steps)
            status = jnp.where(spent, Status.UNFINISHED, status)
        status = jnp.where((looked & nan) | ~finite, Status.FAILED, status).astype(jnp.int32)
        return memory._replace(counter=counter, last_energy=energy), status

    @override
    def move(self, nuclei: Nuclei) -> tuple[RelaxMemory, Float[Array, "n_nuclei 3"]]:
        memory, measured = nuclei.mover, nuclei.measured
        now = self._structure(
            nuclei.positions * Bohr, measured.forces * FORCE, measured.energy * Hartree
        )
        state, there = self.stage.advance(memory.stage, now)
        memory = memory._replace(stage=state, n_moves=memory.n_moves + 1)
        return memory, there.positions / Bohr

    @override
    def row(self, nuclei: Nuclei) -> Row:
        measured = nuclei.measured
        return {
            "fmax": FORCE * largest(measured.forces),
            "fmax_error": FORCE * largest(measured.force_errors),
        }

    @override
    def ending(self, status: Status, row: Row) -> str:
        word = {Status.FINISHED: "converged", Status.UNFINISHED: "max_steps are used up"}
        told = word.get(status, "energy or forces are not finite")
        text = f"{told}: fmax = {row['fmax']:.3g} +- {row['fmax_error']:.1g} eV/Angstrom"
        if status == Status.FINISHED and row["fmax_error"] > row["fmax"]:
            text += "; the error is larger, so that this may be chance: raise n_measured"
        return text


class Relaxation(MovingVMC):
    """Relaxes a molecule: training, measured forces, and a step of an optimiser of `ritz.relax`.

    At each geometry the parameters are trained, then they rest while energy and forces are measured
    (`Forces`, without what would shift or turn the molecule), and the optimiser moves the nuclei;
    electrons follow. The criteria of the optimiser, in its units of eV and Angstrom, end the run:
    fmax <= 0.05 eV/Angstrom, if none are given. They see estimates: choose `n_measured` so that
    `fmax_error` is well below the threshold, or a larger threshold.

    Besides those of `VMC`, rows have the number of the `geometry`, whether the step `measures`,
    the `status` (0 while nuclei move, 1 converged, 2 `max_steps` used up, 3 not finite), and of the
    last geometry that was measured `fmax`, the largest force, and `fmax_error`, its standard error,
    in eV/Angstrom.

    Args:
        molecule: Where the nuclei begin.
        wavefunction: A network of Ritz, or one that takes positions of nuclei, see `Forces`.
        optimizer: As in `VMC`.
        stage: An optimiser of `ritz.relax` with its criteria and its largest number of moves.
        n_first: Number of steps of training at the first geometry.
        n_updates: Number of steps of training at each further one; without any, the measurement
            begins with walkers that have just been moved along.
        n_measured: Number of steps of each measurement, at least 10; errors count correlations
            between up to a tenth of them.
        forces: The estimator of the forces.
        settings: Further arguments of `VMC`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, the molecule is a single atom or has
            pseudopotentials, or the wave function takes no positions of nuclei.
    """

    @functools.partial(suggests_names, more=(VMC,), instead=_NOT_TAKEN)
    def __init__(
        self,
        molecule: Molecule,
        wavefunction: nn.Module | Psi,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule = default_rate,
        *,
        stage: AbstractOptimizer | None = None,
        n_first: int = 1000,
        n_updates: int = 100,
        n_measured: int = 200,
        forces: Forces | None = None,
        **settings: Any,
    ):
        stage = LBFGS() if stage is None else stage
        if not isinstance(stage, AbstractOptimizer):
            raise TypeError(
                "stage must be an optimiser of ritz.relax, such as LBFGS() or FIRE(), but "
                f"{stage!r} was given."
            )
        if stage.moves_cell:
            raise ValueError("stage: a molecule has no cell; leave cell out.")
        assert stage.convergence_hook is not None
        unknown = [c.key for c in stage.convergence_hook.criteria if c.key not in CRITERIA]
        if unknown:
            raise ValueError(
                f"there is no quantity {unknown[0]!r} of molecules to converge; there are: "
                f"{', '.join(CRITERIA)}."
            )
        if len(check_molecule(molecule).symbols) < 2:
            raise ValueError(f"{molecule.name} is a single atom, on which there are no forces.")
        forces = Forces(molecule) if forces is None else forces
        self.stage = stage
        super().__init__(
            molecule,
            wavefunction,
            RelaxMover(stage, molecule.numbers),
            n_first,
            n_updates,
            n_measured,
            forces,
            optimizer=optimizer,
            **settings,
        )

    @property
    @override
    def settings(self) -> dict[str, object]:
        stage = self.stage
        assert stage.convergence_hook is not None
        return {
            **super().settings,
            "stage": (stage.name, stage.settings, stage.max_steps),
            "convergence": stage.convergence_hook.rule,
        }

    @property
    def fmax(self) -> float:
        """The largest force at the last geometry that was measured, in eV/Angstrom."""
        return float(FORCE * np.max(np.linalg.norm(self.measured.forces, axis=-1)))


def largest(vectors: Float[Array, "n 3"]) -> Float[Array, ""]:
    """The length of the longest vector."""
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=-1)))
