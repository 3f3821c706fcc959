"""Relaxation in one call."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms as AseAtoms
from jaxtyping import Array, Bool, Float

from ritz.checks import check_count, check_positive
from ritz.driver.arguments import Plugins, listed
from ritz.driver.signatures import suggests_names
from ritz.html import HtmlFields
from ritz.relax.algorithms.cell import FrechetCell
from ritz.relax.algorithms.fire import FIRE
from ritz.relax.algorithms.fire2 import FIRE2
from ritz.relax.algorithms.gradient_descent import GradientDescent
from ritz.relax.algorithms.lbfgs import LBFGS
from ritz.relax.algorithms.optimizer import AbstractOptimizer
from ritz.relax.arguments import ModelLike
from ritz.relax.batching.batch import FAILED, UNCERTAIN, UNCONVERGED
from ritz.relax.convergence.convergence_hook import DEFAULT_FMAX, ConvergenceHook
from ritz.relax.convergence.criteria import Criterion
from ritz.relax.driver import Relaxation
from ritz.relax.progress import StructureProgress

OPTIMIZERS: dict[str, type[AbstractOptimizer]] = {
    "fire": FIRE,
    "fire2": FIRE2,
    "lbfgs": LBFGS,
    "gradient_descent": GradientDescent,
}
"""The optimisers by the names that `relax` takes."""

_SPARE_STEPS = 1000
"""Extra steps for structures that wait for larger neighbour lists, and for the last step."""


@dataclasses.dataclass(frozen=True, repr=False)
class RelaxResult(HtmlFields):
    """Results of a relaxation, in the order in which structures were given.

    A single `ase.Atoms` that was given without a list has single values here, not lists.
    """

    atoms: Any
    """The structures, with energy, forces and, with a moving cell, stress."""
    energy: Any
    """Energies in eV."""
    fmax: Any
    """Largest force in eV/Angstrom, including those on a moving cell."""
    status: Any
    """"converged", "unconverged" (all steps used up), "failed" (see `reason`), "uncertain"
    (see `SpreadLimit`), or "running" where a callback or signal ended the run before."""
    steps: Any
    """Number of steps of each structure."""
    reason: Any = ""
    """Reason why a structure has failed; empty for others."""

    @property
    def converged(self) -> bool:
        """Whether all structures have converged."""
        status = [self.status] if isinstance(self.status, str) else self.status
        return all(one == "converged" for one in status)

    def __repr__(self) -> str:
        """Numbers of structures by status, the range of their energies and the largest force."""
        status = [self.status] if isinstance(self.status, str) else self.status
        told = ", ".join(f"{number} {name}" for name, number in Counter(status).items())
        known = np.isfinite(np.atleast_1d(self.energy))
        if known.any():
            energies = np.atleast_1d(self.energy)[known]
            ends = dict.fromkeys(f"{end:.6f}" for end in (energies.min(), energies.max()))
            fmax = np.atleast_1d(self.fmax)[known].max()
            told += f"; energy {' to '.join(ends)} eV, fmax {fmax:.2g} eV/Angstrom"
        return f"RelaxResult({told})"


_NOT_TAKEN = {
    "stages": "give one optimiser as optimizer=; for several stages make a Relaxation, and run it.",
    "convergence_hook": (
        "its criteria are those of fmax= and smax=; for others make a Relaxation, such as "
        "Relaxation(atoms, model, FIRE(convergence_hook=...)), and run it."
    ),
}
"""Arguments of `Relaxation` that `relax` gives itself -> what to do instead."""


@functools.partial(suggests_names, more=(Relaxation,), instead=_NOT_TAKEN)
def relax(
    atoms: AseAtoms | Iterable[AseAtoms],
    model: ModelLike,
    fmax: float = DEFAULT_FMAX,
    optimizer: str | AbstractOptimizer = "fire",
    max_steps: int = 10_000,
    *,
    cell: FrechetCell | bool | None = None,
    smax: float | None = None,
    callback: Plugins = None,
    out: Plugins = None,
    show_progress: bool = False,
    resume: bool | str | Path = False,
    **settings: Any,
) -> RelaxResult:
    """Relax one structure or many.

    Args:
        atoms: One `ase.Atoms` or many; they stay as they are.
        model: A potential such as `LennardJones()`; a trained one, such as `ANNPotential` or a
            committee; or the path of the file or run folder of one.
        fmax: A structure has converged when no force is larger, in eV/Angstrom.
        optimizer: "fire", "fire2", "lbfgs", "gradient_descent", or an optimiser, whose criteria
            and cell are then replaced by those given here.
        max_steps: Largest number of steps of a structure.
        cell: True, or a `FrechetCell`, to let cells move too.
        smax: With a moving cell, the largest element in GPa of the stress that it can relax, as a
            further criterion. The forces on the cell in `fmax` are the stress times the volume
            per atom.
        callback: Callbacks for the run.
        out: Loggers for the run.
        show_progress: Whether to show a bar on stderr.
        resume: As in `run`.
        settings: Further arguments of `Relaxation`, but not `stages` and `convergence_hook`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a structure cannot be treated, which is named, or a value is not allowed.
    """
    check_count("max_steps", max_steps, 0)
    stage = _stage(optimizer, cell).with_max_steps(max_steps)
    criteria = [Criterion("fmax", check_positive("fmax", fmax))]
    if smax is not None:
        if stage.cell is None:
            raise ValueError("smax needs a moving cell: give cell=True.")
        small = SmallStress(check_positive("smax", smax), stage.cell)
        criteria.append(Criterion("stress", smax, custom_op=small))
    stage = stage.with_hook(ConvergenceHook(criteria))
    driver = Relaxation(atoms, model, stage, **settings)
    callbacks = listed(callback) + ([StructureProgress()] if show_progress else [])
    driver.run(
        steps_needed(driver, max_steps),
        out=out,
        callback=callbacks,
        show_progress=False,
        resume=resume,
    )
    return result(driver, single=isinstance(atoms, AseAtoms))


@dataclasses.dataclass(frozen=True)
class SmallStress:
    """Whether the stress that the cell can relax is small.

    Args:
        threshold: The largest element, in GPa.
        cell: How the cell moves.
    """

    threshold: float
    cell: FrechetCell

    def __call__(self, stress: Float[Array, "slots 3 3"]) -> Bool[Array, " slots"]:
        """Whether the stress of each structure is small, shape (n_structures,)."""
        residual = jax.vmap(self.cell.residual_stress)(stress)
        return jnp.all(jnp.abs(residual) <= self.threshold, axis=(-2, -1))


def _stage(
    optimizer: str | AbstractOptimizer, cell: FrechetCell | bool | None
) -> AbstractOptimizer:
    if isinstance(optimizer, AbstractOptimizer):
        return optimizer if cell is None else optimizer.with_cell(cell)
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, or an optimiser such as FIRE(), "
            f"but {optimizer!r} was given."
        )
    kind: Any = OPTIMIZERS[optimizer]
    return kind(cell=cell)


def steps_needed(driver: Relaxation, max_steps: int) -> int:
    """Upper bound of the steps of a batch, if no structure takes more than `max_steps`."""
    return (max_steps + 1) * driver.n_rounds + _SPARE_STEPS


def result(driver: Relaxation, single: bool = False) -> RelaxResult:
    """Status, energies and forces of a driver's structures as they are now.

    Args:
        driver: The driver.
        single: Whether the only structure is given as it is, not in a list.
    """
    state = driver.state
    stages = driver.stages
    names = {
        stages.exit_status: stages.exit_name,
        FAILED: "failed",
        UNCONVERGED: "unconverged",
        UNCERTAIN: "uncertain",
    }
    status = [names.get(int(code), "running") for code in state.status]
    found = RelaxResult(
        atoms=state.atoms,
        energy=state.energy,
        fmax=state.fmax,
        status=status,
        steps=state.steps,
        reason=state.reasons,
    )
    if not single:
        return found
    return RelaxResult(
        atoms=found.atoms[0],
        energy=float(found.energy[0]),
        fmax=float(found.fmax[0]),
        status=status[0],
        steps=int(found.steps[0]),
        reason=found.reason[0],
    )
