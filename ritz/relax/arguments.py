"""Checks what a relaxation is given."""

from collections.abc import Sequence
from typing import Any

from ritz.potentials.potential import AbstractPotential
from ritz.relax.fire import FIRE
from ritz.relax.quantities import check_names
from ritz.relax.stage import AbstractStage, FusedStage, fused


def check_model(model: Any) -> None:
    """Refuse what is no potential.

    Raises:
        TypeError: With what to write instead.
    """
    if not isinstance(model, AbstractPotential):
        raise TypeError(
            f"model must be a potential such as LennardJones(), but {model!r} was given; wrap "
            "a function (params, structure) -> energy as ritz.relax.Potential(function, "
            "params, cutoff)."
        )


def checked_stages(stages: Any, convergence_hook: Any, structures: Sequence[Any]) -> FusedStage:
    """The stages with the criteria that were given.

    Raises:
        ValueError: If a stage cannot treat a structure, which is named, or a criterion names a
            quantity that there is not.
    """
    stages = FIRE() if stages is None else stages
    if convergence_hook is not None:
        if not isinstance(stages, AbstractStage):
            raise ValueError("convergence_hook goes with a single stage; give each stage its own.")
        stages = stages.with_hook(convergence_hook)
    stages = fused(stages)
    for stage in stages.stages:
        for place, atoms in enumerate(structures):
            try:
                stage.check(atoms)
            except ValueError as error:
                formula = atoms.get_chemical_formula()
                raise ValueError(f"structure {place} ({formula}): {error}") from error
    for hook in stages.all_hooks:
        check_names(c.key for c in hook.criteria)
    return stages
