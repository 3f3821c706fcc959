"""Variable cells, with the logarithm of the deformation as additional coordinates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import units
from jaxtyping import Array, Float

from ritz.checks import check_finite, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.relax.algorithms.matrices import exponential, inverse, volume
from ritz.relax.algorithms.stage import StructureState


class CellState(NamedTuple):
    """Deformation of a cell since the stage began."""

    first: Float[Array, "3 3"]
    """The cell at the beginning of the stage, in Angstrom, shape (3, 3)."""
    log: Float[Array, "3 3"]
    """L, where F = exp(L) takes it to the present one: cell = first F^T."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class FrechetCell:
    """Lets an optimiser deform the cell by F = exp(L).

    Its coordinates are those of the atoms before the deformation, and the elements of L: the method
    of the Frechet cell filter of ASE. Atoms that are fixed follow the cell.

    Args:
        mask: Which elements of the strain may change, six booleans in Voigt order (xx, yy, zz, yz,
            xz, xy); all by default. Structures that are not periodic in every direction need it.
        hydrostatic: Whether the cell keeps its shape.
        constant_volume: Whether it keeps its volume.
        pressure: The external pressure, in GPa.
        factor: Scale of the cell's coordinates; by default the number of atoms.

    Raises:
        ValueError: If an argument is not allowed.
    """

    mask: tuple[bool, ...] | None = None
    hydrostatic: bool = False
    constant_volume: bool = False
    pressure: float = 0.0
    factor: float | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            object.__setattr__(self, "mask", tuple(bool(m) for m in self.mask))
            if len(self.mask) != 6 or not any(self.mask):
                raise ValueError(
                    f"mask must be six booleans (xx, yy, zz, yz, xz, xy), not all of them false, "
                    f"but {self.mask!r} was given."
                )
        if self.hydrostatic and self.constant_volume:
            raise ValueError("a cell that keeps its shape and its volume cannot move.")
        check_finite("pressure", self.pressure, "GPa")
        if self.factor is not None:
            check_positive("factor", self.factor)

    @property
    def _mask(self) -> np.ndarray:
        xx, yy, zz, yz, xz, xy = self.mask or (True,) * 6
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    def _allowed(self, gradient: jax.Array) -> jax.Array:
        gradient = jnp.where(self._mask, gradient, 0)
        mean = jnp.trace(gradient) / 3 * jnp.eye(3, dtype=gradient.dtype)
        if self.hydrostatic:
            return mean
        return gradient - mean if self.constant_volume else gradient

    def residual_stress(self, stress: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
        """The part of stress plus pressure, in GPa, that the cell can relax to zero."""
        return self._allowed(stress + self.pressure * jnp.eye(3, dtype=stress.dtype))

    def _scale(self, now: StructureState) -> jax.Array | float:
        return now.n_atoms.astype(now.cell.dtype) if self.factor is None else self.factor

    def _virial(self, now: StructureState) -> jax.Array:
        outside = self.pressure * units.GPa
        return now.virial + outside * volume(now.cell) * jnp.eye(3, dtype=now.cell.dtype)

    def enter(self, now: StructureState) -> CellState:
        """The state of a cell at the beginning of a stage, without deformation."""
        return CellState(now.cell, jnp.zeros_like(now.cell))

    def residual(self, now: StructureState) -> Float[Array, "3 3"]:
        """Forces on the cell in eV, shape (3, 3), as at zero deformation."""
        return -self._allowed(self._virial(now)) / self._scale(now)

    def forces(self, state: CellState, now: StructureState) -> Float[Array, "n+3 3"]:
        """Forces on all coordinates: those of the atoms, then the three rows of the cell's."""
        deformation, pull = jax.vjp(exponential, state.log)
        # dE/dF = W F^-T, where the virial W is dE/de for F -> (1 + e) F.
        by_deformation = self._virial(now) @ inverse(deformation).T
        (by_log,) = pull(by_deformation)
        cell_forces = -self._allowed(by_log) / self._scale(now)
        return jnp.concatenate([now.forces @ deformation, cell_forces])

    def move(
        self, state: CellState, now: StructureState, step: jax.Array
    ) -> tuple[CellState, jax.Array, jax.Array]:
        """Cell state, positions and cell after a change of the coordinates by `step`."""
        log = state.log + step[-3:] / self._scale(now)
        old, new = exponential(state.log), exponential(log)
        before = now.positions @ inverse(old).T + step[:-3]
        return state._replace(log=log), before @ new.T, state.first @ new.T
