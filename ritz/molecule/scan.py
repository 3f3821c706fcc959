"""Scans: energies of one molecule at a list of geometries, in one run."""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.molecule.belonging import check_same
from ritz.molecule.estimators.forces import Forces
from ritz.molecule.molecule import Molecule
from ritz.molecule.moving import Measured, Mover, Nuclei, Status
from ritz.molecule.moving_vmc import NOT_TAKEN, MovingVMC
from ritz.molecule.vmc import VMC, default_rate
from ritz.molecule.wavefunction import Psi
from ritz.types import Row

Places = tuple[tuple[tuple[float, float, float], ...], ...]


_NOT_TAKEN = NOT_TAKEN | {"molecule": "give the geometries as molecules=."}


class ScanMemory(NamedTuple):
    """What was measured at each geometry; NaN at those that are to come."""

    energies: Float[Array, " n_geometries"]
    energy_errors: Float[Array, " n_geometries"]
    forces: Float[Array, "n_geometries n_nuclei 3"]
    force_errors: Float[Array, "n_geometries n_nuclei 3"]


@dataclasses.dataclass(frozen=True)
class ScanMover(Mover):
    """Moves nuclei along a list of positions.

    Args:
        places: Positions of the nuclei at each geometry, in bohr.
        with_forces: Whether forces are measured too.
    """

    places: Places
    with_forces: bool

    @override
    def start(self, positions: Float[Array, "n_nuclei 3"]) -> ScanMemory:
        n, n_nuclei = len(self.places), len(positions) if self.with_forces else 0
        energies, forces = jnp.full(n, jnp.nan, float), jnp.full((n, n_nuclei, 3), jnp.nan, float)
        return ScanMemory(energies, energies, forces, forces)

    @override
    def judge(self, nuclei: Nuclei, measured: Measured) -> tuple[ScanMemory, Int[Array, ""]]:
        place = nuclei.geometry
        memory = ScanMemory(
            *(old.at[place].set(new) for old, new in zip(nuclei.mover, measured, strict=True))
        )
        status = jnp.where(place == len(self.places) - 1, Status.FINISHED, Status.MOVING)
        finite = jnp.isfinite(measured.energy) & jnp.all(jnp.isfinite(measured.forces))
        return memory, jnp.where(finite, status, Status.FAILED).astype(jnp.int32)

    @override
    def move(self, nuclei: Nuclei) -> tuple[ScanMemory, Float[Array, "n_nuclei 3"]]:
        return nuclei.mover, jnp.asarray(self.places, float)[nuclei.geometry + 1]

    @override
    def ending(self, status: Status, row: Row) -> str:
        if status == Status.FINISHED:
            return f"all {len(self.places)} geometries are done"
        return f"energy or forces of geometry {int(row['geometry'])} are not finite"


class Scan(MovingVMC):
    """Energies of a molecule at a list of geometries, such as a dissociation, in one run.

    Each geometry begins with the parameters and the walkers of the last one, and has so many steps
    of training; then the parameters rest, and the energy is measured. All geometries share the
    compiled programs. Besides those of `VMC`, rows have the number of the `geometry`, whether the
    step `measures`, and the `status` (0 until the last geometry is done, then 1; 3 not finite).

    Args:
        molecules: The geometries: the same atoms, charge, spin and pseudopotentials at different
            positions, best so that neighbours in the list are alike.
        wavefunction: A network of Ritz, or one that takes positions of nuclei, see `Forces`.
        optimizer: As in `VMC`.
        n_first: Number of steps of training at the first geometry.
        n_updates: Number of steps of training at each further one; without any, the measurement
            begins with walkers that have just been moved along.
        n_measured: Number of steps of each measurement, at least 10; errors count correlations
            between up to a tenth of them.
        forces: An estimator of the forces, to measure them too; none by default.
        settings: Further arguments of `VMC`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the molecules differ in more than positions, a value is not allowed, or the
            wave function takes no positions of nuclei.
    """

    @functools.partial(suggests_names, more=(VMC,), instead=_NOT_TAKEN)
    def __init__(
        self,
        molecules: Sequence[Molecule],
        wavefunction: nn.Module | Psi,
        optimizer: optax.GradientTransformation | optax.ScalarOrSchedule = default_rate,
        *,
        n_first: int = 1000,
        n_updates: int = 200,
        n_measured: int = 200,
        forces: Forces | None = None,
        **settings: Any,
    ):
        self.molecules = _checked(molecules)
        mover = ScanMover(
            tuple(one.positions for one in self.molecules), with_forces=forces is not None
        )
        super().__init__(
            self.molecules[0],
            wavefunction,
            mover,
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
        places = np.array([one.positions for one in self.molecules])
        named = f"{len(places)} geometries {zlib.crc32(places.tobytes()):08x}"
        return {**super().settings, "geometries": named}

    @property
    def n_steps(self) -> int:
        """Number of steps of the whole scan, as `run` takes it."""
        n_first, n_updates, n_measured = self._numbers
        n = len(self.molecules)
        return n_first + (n - 1) * n_updates + n * n_measured

    @property
    def energies(self) -> Float[np.ndarray, " n_geometries"]:
        """Energies in hartree; NaN at geometries that are to come."""
        return np.asarray(self._nuclei.mover.energies)

    @property
    def energy_errors(self) -> Float[np.ndarray, " n_geometries"]:
        """One standard error of each energy, in hartree."""
        return np.asarray(self._nuclei.mover.energy_errors)

    @property
    def forces(self) -> Float[np.ndarray, "n_geometries n_nuclei 3"]:
        """Forces in hartree/bohr, if they are measured."""
        return np.asarray(self._nuclei.mover.forces)

    @property
    def force_errors(self) -> Float[np.ndarray, "n_geometries n_nuclei 3"]:
        """One standard error of each component, in hartree/bohr."""
        return np.asarray(self._nuclei.mover.force_errors)


def _checked(molecules: object) -> tuple[Molecule, ...]:
    """The geometries of one molecule.

    Raises:
        TypeError: If they are something else.
        ValueError: If there are none, or they are those of different molecules.
    """
    if isinstance(molecules, Molecule) or not isinstance(molecules, Sequence):
        raise TypeError(
            "molecules takes a list of geometries, such as [molecule.at(x) for x in path], not "
            f"one molecule or a generator, but {molecules!r} was given."
        )
    if not molecules:
        raise ValueError("molecules is empty; give at least one geometry.")
    for one in molecules:
        if not isinstance(one, Molecule):
            raise TypeError(f"each geometry must be a ritz.molecule.Molecule, not {one!r}.")
    remedy = "a scan moves the nuclei of one molecule, with its atoms in one order"
    for place, other in enumerate(molecules):
        part = f"geometry {place}"
        check_same(part, other, molecules[0], remedy, moves=True, name="geometry 0")
    return tuple(molecules)
