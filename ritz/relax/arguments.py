"""Checks what a relaxation is given."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import jax
from ase.calculators.calculator import BaseCalculator

from ritz.checks import check_count
from ritz.potentials.potential import AbstractPotential
from ritz.potentials.sources import AbstractPotentialSource, as_potential
from ritz.relax.fire import FIRE
from ritz.relax.quantities import check_names
from ritz.relax.stage import AbstractStage, FusedStage, fused

CALCULATORS = (
    "which computes one structure at a time outside of compiled steps. Relax with ASE's own "
    "optimisers: atoms.calc = calculator; ase.optimize.FIRE(atoms).run(fmax=0.05). Of an "
    "MLIPCalculator give the potential itself."
)
"""What to do with them."""


MAX_ATOMS = {"cpu": 2048}
"""How many atoms, empty places counted, are in the slots of all buckets together by default, by
the device's kind: on CPUs the neighbour lists of a step should stay in the caches."""

_FAR_MAX_ATOMS = 2**16
"""The same for devices that have a memory of their own."""


def checked_atoms(max_atoms: int | None, slots: int | None) -> int:
    """How many atoms are treated at once: as given, or as suits the device.

    Raises:
        ValueError: If `max_atoms` or `slots` is no whole number above zero.
    """
    if slots is not None:
        check_count("slots", slots, 1)
    if max_atoms is None:
        return MAX_ATOMS.get(jax.default_backend(), _FAR_MAX_ATOMS)
    return check_count("max_atoms", max_atoms, 1)


def potential_of(model: Any) -> AbstractPotential:
    """The potential that is meant: itself, what was trained, or what a path leads to.

    Raises:
        TypeError: If it is something else, with what to write instead.
        ValueError: If there is no potential at a path.
        RuntimeError: If it was not trained.
    """
    if isinstance(model, AbstractPotential | AbstractPotentialSource | str | PathLike):
        return as_potential(model)
    name = getattr(model, "__name__", type(model).__name__)
    if isinstance(model, BaseCalculator):
        raise TypeError(f"model is a calculator of ASE, {name}, {CALCULATORS}")
    if isinstance(model, type) and issubclass(model, AbstractPotential):
        raise TypeError(f"model is the class {name}; give a potential of it: {name}(...).")
    raise TypeError(
        f"model must be a potential such as LennardJones(), a trained one, or the path of its file "
        f"or run folder, but {model!r} was given; wrap a function (params, structure) -> energy "
        "as ritz.relax.Potential(function, params, cutoff)."
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
