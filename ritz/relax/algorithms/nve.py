"""Molecular dynamics at constant energy."""

from collections.abc import Hashable

from jaxtyping import Array, Float
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.relax.algorithms.integrator import AbstractIntegrator, thermal
from ritz.relax.algorithms.stage import PhasePoint, StructureState
from ritz.relax.convergence.convergence_hook import HookLike


class NVE(AbstractIntegrator):
    """The velocity Verlet integrator (Swope et al., J. Chem. Phys. 76, 637 (1982)).

    Args:
        dt: The time step in fs.
        temperature: Temperature in K from which initial velocities are drawn; by default
            structures keep their own.
        convergence_hook: Criteria by which structures leave the stage; none by default.
        max_steps: Number of steps of a structure.
    """

    @suggests_names
    def __init__(
        self,
        dt: float = 1.0,
        temperature: float | None = None,
        convergence_hook: HookLike | None = None,
        max_steps: int | None = None,
    ):
        super().__init__(dt, convergence_hook, max_steps)
        self.temperature = (
            None if temperature is None else check_positive("temperature", temperature)
        )

    @property
    @override
    def settings(self) -> Hashable:
        return self.dt, self.temperature

    @override
    def enter(self, now: StructureState) -> tuple[tuple[()], Float[Array, "n 3"]]:
        if self.temperature is None:
            return (), now.velocities
        return (), thermal(now, self.temperature)

    @override
    def advance(self, state: tuple[()], now: StructureState) -> tuple[tuple[()], PhasePoint]:
        v = self._kick(now.velocities, now)
        return (), PhasePoint(now.positions + self._dt * v, v, now.cell)
