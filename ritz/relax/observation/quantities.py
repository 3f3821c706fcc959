"""The quantities that criteria and rows can refer to."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ase import units
from jaxtyping import Array, Float, Int

from ritz.potentials.committee import Spread
from ritz.relax.algorithms.integrator import kinetic_energy, temperature_of
from ritz.relax.algorithms.matrices import volume
from ritz.relax.batching.batch import Atoms, Geometry


class Observables(NamedTuple):
    """Quantities of the structures in all slots at a step, for criteria and rows."""

    geometry: Geometry
    atoms: Atoms
    velocities: Float[Array, "slots n 3"]
    energy: Float[Array, " slots"]
    """Energies in eV."""
    last_energy: Float[Array, " slots"]
    """Energies at the last evaluation, in eV; infinite before the first."""
    forces: Float[Array, "slots n 3"]
    virial: Float[Array, "slots 3 3"]
    """Derivatives of the energies by strain, in eV."""
    fmax: Float[Array, " slots"]
    steps: Int[Array, " slots"]
    expected_error: Spread | None = None
    """Expected errors of energies per atom and forces; None where nothing asks for them."""

    @property
    def n_atoms(self) -> jax.Array:
        """Number of atoms of each structure, shape (n_slots,)."""
        return jnp.sum(self.atoms.mask, axis=-1)

    @property
    def volume(self) -> jax.Array:
        """Volume of each cell in Angstrom^3, shape (n_slots,)."""
        return volume(self.geometry.cell)

    @property
    def kinetic(self) -> jax.Array:
        """Kinetic energy of each structure in eV, shape (n_slots,)."""
        return kinetic_energy(self.velocities, self.atoms.masses)


def _pressure(observables: Observables) -> jax.Array:
    virial = jnp.trace(observables.virial, axis1=-2, axis2=-1)
    return (2 * observables.kinetic - virial) / (3 * observables.volume) / units.GPa


def _expected_error(observables: Observables) -> Spread:
    assert observables.expected_error is not None, "no criterion or hook asks for it"
    return observables.expected_error


QUANTITIES: dict[str, tuple[bool, Callable[[Observables], jax.Array]]] = {
    "fmax": (False, lambda s: s.fmax),
    "energy": (False, lambda s: s.energy),
    "energy_per_atom": (False, lambda s: s.energy / s.n_atoms),
    "energy_change": (False, lambda s: s.energy - s.last_energy),
    "energy_change_per_atom": (False, lambda s: (s.energy - s.last_energy) / s.n_atoms),
    "stress": (False, lambda s: s.virial / s.volume[:, None, None] / units.GPa),
    "pressure": (False, _pressure),
    "volume": (False, lambda s: s.volume),
    "cell": (False, lambda s: s.geometry.cell),
    "kinetic_energy": (False, lambda s: s.kinetic),
    "temperature": (False, lambda s: temperature_of(s.kinetic, s.atoms.movable)),
    "steps": (False, lambda s: s.steps),
    "expected_energy_error": (False, lambda s: _expected_error(s).energy),
    "expected_force_error": (False, lambda s: _expected_error(s).force),
    "forces": (True, lambda s: s.forces),
    "positions": (True, lambda s: s.geometry.positions),
    "velocities": (True, lambda s: s.velocities),
}
"""name -> (whether each atom has a value, how to get it from the observables).

Energies are in eV, lengths in Angstrom, forces in eV/Angstrom, stress and pressure in
GPa, temperatures in K, velocities in ASE's unit. `energy_change` is infinite at a
structure's first step. `stress` is the derivative of the energy by strain over the volume,
without the kinetic part that `pressure` has. Expected errors, of the energy per atom in eV and
of the least certain force in eV/Angstrom, need a committee, see `evaluate_with_spread`.
"""

VIRIAL = ("stress", "pressure")
"""Quantities that need the virial."""

EXPECTED_ERRORS = ("expected_energy_error", "expected_force_error")
"""Quantities that need a committee."""


def quantity(name: str, observables: Observables) -> tuple[jax.Array, jax.Array | None]:
    """Values of all slots, and which places hold an atom if each atom has one."""
    per_atom, get = QUANTITIES[name]
    return get(observables), observables.atoms.mask if per_atom else None


def check_names(names: Iterable[str]) -> None:
    """Refuse unknown quantities.

    Raises:
        ValueError: With the known ones.
    """
    for name in names:
        if name not in QUANTITIES:
            raise ValueError(
                f"there is no quantity {name!r} to converge; there are: {', '.join(QUANTITIES)}."
            )
