"""Conformance check of optimisers and integrators of structures."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ritz.extras import needs
from ritz.testing.drivers import check_driver
from ritz.testing.requirement import require

if TYPE_CHECKING:
    from ase import Atoms

    from ritz.relax import Relaxation
    from ritz.relax.algorithms.stage import AbstractStage


def check_stage(make: Callable[[], "AbstractStage"], steps: int = 5) -> None:
    """Check an optimiser or integrator of `ritz.relax`.

    Two runs of n steps must equal one of 2n, the result of a structure must not depend on the rest
    of the batch, and fixed atoms must stay.

    Args:
        make: Function that makes the stage.
        steps: Number of steps of each run.

    Raises:
        AssertionError: If a check fails, with the reason.
    """
    with needs("check_stage", "relax"):
        from ase import Atoms
        from ase.constraints import FixAtoms

    from ritz.relax import Morse, Relaxation

    never = {"criteria": [{"key": "steps", "threshold": -1.0, "signed": True}]}
    random = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [1.1, 0, 0], [0.5, 1.0, 0], [0.5, 0.4, 0.9]])
    structures = [Atoms("Ar4", corners + 0.05 * random.normal(size=(4, 3))) for _ in range(3)]
    for atoms in structures:
        atoms.set_velocities(0.1 * random.normal(size=(4, 3)))
    structures[1].set_constraint(FixAtoms([2]))

    def driver(
        given: list["Atoms"], max_steps: int | None = None, slots: int | None = None
    ) -> "Relaxation":
        stage = make().with_hook(never).with_max_steps(max_steps)
        return Relaxation(given, Morse(), stage, slots=slots)

    check_driver(lambda: driver(structures), steps)
    together = _ended(driver(structures, steps), steps)
    refilled = _ended(driver(structures, steps, slots=1), steps)
    for one, other in zip(together, refilled, strict=True):
        # The order of sums may depend on the size of the batch.
        same = np.allclose(one.positions, other.positions, rtol=0, atol=1e-10)
        require(same, "a structure feels the others")
    for before, after in zip(structures, together, strict=True):
        require(not np.array_equal(before.positions, after.positions), "a structure did not move")
    held = together[1].positions[2], structures[1].positions[2]
    require(np.array_equal(*held), "a fixed atom has moved")


def _ended(driver: "Relaxation", steps: int) -> list["Atoms"]:
    driver.run(10 * (steps + 1), show_progress=False)
    return driver.state.atoms
