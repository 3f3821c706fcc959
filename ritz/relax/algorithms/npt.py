"""Molecular dynamics at constant temperature and pressure."""

import jax
import jax.numpy as jnp
from ase import Atoms as AseAtoms
from ase import units
from typing_extensions import override

from ritz.checks import check_finite, check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.integrator import kinetic_energy
from ritz.relax.algorithms.langevin import NVTLangevin
from ritz.relax.algorithms.matrices import volume
from ritz.relax.algorithms.stage import PhasePoint, StructureState
from ritz.relax.convergence.convergence_hook import HookLike


class NPT(NVTLangevin):
    """Langevin dynamics, and a cell whose volume follows stochastic cell rescaling.

    The logarithm of the volume diffuses in the field of the pressure difference (Bernetti and
    Bussi, J. Chem. Phys. 153, 114107 (2020), eq. 5), which samples the isothermal-isobaric
    ensemble for short steps; cell and positions are scaled alike, velocities inversely, once a
    step after the drift. The shape of the cell stays.

    Args:
        temperature: Temperature in K.
        pressure: Pressure in GPa; 1e-4, the default, is 1 bar.
        dt: The time step in fs.
        friction: Friction coefficient of the thermostat in 1/fs.
        relaxation: Relaxation time of the pressure in fs, if the compressibility is right.
        compressibility: Estimated compressibility in 1/GPa, by default that of water. It changes
            how fast the volume relaxes, not the ensemble.
        convergence_hook: Criteria by which structures leave the stage; none by default.
        max_steps: Number of steps of a structure.

    Structures at rest start with thermal velocities.
    """

    moves_cell = True

    @suggests_names
    def __init__(
        self,
        temperature: float,
        pressure: float = 1e-4,
        dt: float = 1.0,
        friction: float = 0.01,
        relaxation: float = 1000.0,
        compressibility: float = 0.45,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(temperature, dt, friction, convergence_hook, max_steps)
        self.pressure = check_finite("pressure", pressure, "GPa")
        self.relaxation = check_positive("relaxation", relaxation)
        self.compressibility = check_positive("compressibility", compressibility)

    @property
    @override
    def settings(self) -> tuple[float, ...]:
        return *super().settings, self.pressure, self.relaxation, self.compressibility

    def advance(self, state: tuple[()], now: StructureState) -> tuple[tuple[()], PhasePoint]:
        """B A O A, and a new volume."""
        size = volume(now.cell)
        kinetic = kinetic_energy(now.velocities, now.masses)
        inside = (2 * kinetic - jnp.trace(now.virial)) / (3 * size)
        rate = self.compressibility / units.GPa / (self.relaxation * units.fs)
        noise = jax.random.normal(jax.random.fold_in(now.key, 2), (), size.dtype)
        spread = jnp.sqrt(2 * units.kB * self.temperature * rate * self._dt / size)
        growth = rate * (inside - self.pressure * units.GPa) * self._dt + spread * noise
        x, v = self._baoa(now)
        scale = jnp.exp(growth / 3)
        return (), PhasePoint(scale * x, v / scale, scale * now.cell)

    def check(self, atoms: AseAtoms) -> None:
        """Refuse structures without a volume that could change."""
        if not all(atoms.pbc):
            raise ValueError("NPT needs a structure that is periodic in all three directions.")
        if atoms.constraints:
            raise ValueError("NPT cannot hold atoms fixed, since all of them follow the cell.")
