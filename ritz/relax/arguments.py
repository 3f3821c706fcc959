"""Checks the arguments of a relaxation."""

from collections.abc import Iterable, Sequence
from os import PathLike

import jax
from ase import Atoms as AseAtoms
from ase.calculators.calculator import BaseCalculator

from ritz.checks import check_count
from ritz.potentials.committee import AbstractCommittee
from ritz.potentials.potential import AbstractPotential
from ritz.potentials.sources import AbstractPotentialSource, as_potential
from ritz.relax.algorithms.fire import FIRE
from ritz.relax.algorithms.stage import AbstractStage, FusedStage, fused
from ritz.relax.convergence.convergence_hook import ConvergenceHook, HookLike
from ritz.relax.observation.quantities import EXPECTED_ERRORS, check_names

ModelLike = AbstractPotential | AbstractPotentialSource | str | PathLike[str]
"""A potential, a trained model, or the path of its file or run folder."""

CALCULATORS = (
    "which computes one structure at a time outside of compiled steps. Relax with ASE's own "
    "optimisers: atoms.calc = calculator; ase.optimize.FIRE(atoms).run(fmax=0.05). Of an "
    "MLIPCalculator give the potential itself."
)
"""Advice in errors about ASE calculators."""


MAX_ATOMS = {"cpu": 2048}
"""Default number of atoms, including padding, in the slots of all buckets together, by kind of
device: on CPUs the neighbour lists of a step should stay in the caches."""

_FAR_MAX_ATOMS = 2**16
"""Default number of atoms in all slots on devices with their own memory."""


def checked_atoms(max_atoms: int | None, slots: int | None) -> int:
    """Number of atoms treated at once: as given, or the default of the device.

    Raises:
        ValueError: If `max_atoms` or `slots` is no whole number above zero.
    """
    if slots is not None:
        check_count("slots", slots, 1)
    if max_atoms is None:
        return MAX_ATOMS.get(jax.default_backend(), _FAR_MAX_ATOMS)
    return check_count("max_atoms", max_atoms, 1)


def potential_of(model: ModelLike) -> AbstractPotential:
    """The potential of a model: itself, a trained one frozen, or one read from a path.

    Raises:
        TypeError: If it is not a potential, with what to write instead.
        ValueError: If the path holds no potential.
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


def checked_stages(
    stages: AbstractStage | FusedStage | None,
    convergence_hook: HookLike | None,
    structures: Sequence[AseAtoms],
) -> FusedStage:
    """The stages, with the given criteria.

    Raises:
        ValueError: If a stage cannot treat a structure, which is named, or a criterion names an
            unknown quantity.
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


def check_committee(model: AbstractPotential, hooks: Iterable[ConvergenceHook]) -> None:
    """Refuse criteria that look at expected errors, if the potential has none.

    Raises:
        ValueError: If a criterion needs a committee, and the potential is none.
    """
    asked = sorted({c.key for hook in hooks for c in hook.criteria} & {*EXPECTED_ERRORS})
    if asked and not isinstance(model, AbstractCommittee):
        raise ValueError(
            f"{' and '.join(asked)}: only a committee knows how far its members spread, but the "
            f"model is a {type(model).__name__}; train a committee, by CommitteePotential or "
            "ritz mlip train members=4."
        )
